"""The trunk runs the rows that the policies decide on, only those, and the same one token at a time."""

from __future__ import annotations

import itertools

import pytest
import synthetic as s
import torch

from resnetbk.kinds import Stack
from resnetbk.metering.depth import layers_run

HOURGLASS = (Stack(0, (0,)), Stack(1, (1, 2)), Stack(0, (3,)))
DEEP = (Stack(0, (0,)), Stack(1, (1,)), Stack(2, (2,)), Stack(1, ()), Stack(0, (3,)))
ENDS_LOW = (Stack(0, (0, 1)), Stack(1, (2, 3)), Stack(0, ()))
RESOLUTIONS = {
    "flat": lambda: s.Flat(4),
    "hourglass": lambda: s.Strided(HOURGLASS),
    "skewed": lambda: s.Strided(HOURGLASS, factor=2, skewed=True),
    "deep": lambda: s.Strided(DEEP, factor=2),
    "ends-low": lambda: s.Strided(ENDS_LOW),
}
HALTINGS = {"never": s.Never, "depth": lambda: s.Depth((4, 1, 2, 0, 3))}
GATES = {
    "open": s.Open,
    "every": s.Every,
    "every-mixer": lambda: s.Every(scope="mixer"),
    "every-channel": lambda: s.Every(scope="channel"),
}
COMBINATIONS = list(itertools.product(RESOLUTIONS, HALTINGS, GATES))


def model_of(resolution: str, halting: str, gate: str, wiring: str = "sequential"):
    return s.build(
        resolution=RESOLUTIONS[resolution](), halting=HALTINGS[halting](), gate=GATES[gate](), wiring=wiring
    )


def tokens(batch: int = 3, length: int = 14, seed: int = 1) -> torch.Tensor:
    return torch.randint(s.VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("resolution", "halting", "gate"), COMBINATIONS)
def test_logits_do_not_change_when_the_future_does(resolution, halting, gate):
    model, known = model_of(resolution, halting, gate), tokens()
    before = model(known).logits
    for cut in (1, 4, 5, 9, 13):
        changed = known.clone()
        changed[:, cut:] = (changed[:, cut:] + 3) % s.VOCABULARY
        after = model(changed).logits
        if (
            resolution == "skewed"
        ):  # how many rows a matrix product has depends on the text, and so its rounding
            torch.testing.assert_close(after[:, :cut], before[:, :cut], rtol=1e-12, atol=1e-12)
        else:
            assert torch.equal(after[:, :cut], before[:, :cut])
        assert not torch.equal(after[:, cut:], before[:, cut:])


WIRED = [
    (*names, wiring)
    for names in COMBINATIONS
    for wiring in ("sequential", "resnet-bk")
    if wiring == "sequential" or names[2] in ("open", "every")  # half a layer only where it has halves
]


@pytest.mark.parametrize(("resolution", "halting", "gate", "wiring"), WIRED)
def test_one_token_at_a_time_gives_the_same_numbers(resolution, halting, gate, wiring):
    model, known = model_of(resolution, halting, gate, wiring), tokens()
    expected = model(known).logits
    state, rows = model.initial_state(len(known)), []
    state = {**state, "trunk": _double(state["trunk"])}
    for column in known.unbind(1):
        logits, state = model.step(column, state)
        rows.append(logits)
    torch.testing.assert_close(torch.stack(rows, 1), expected, rtol=1e-10, atol=1e-10)


def _double(tree):
    if isinstance(tree, dict):
        return {key: _double(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_double(value) for value in tree]
    return tree.double() if tree.is_floating_point() else tree


@pytest.mark.parametrize(("resolution", "halting", "gate"), COMBINATIONS)
def test_sequences_of_a_batch_do_not_touch_each_other(resolution, halting, gate):
    model, known = model_of(resolution, halting, gate), tokens(4, 11)
    together = model(known).logits
    alone = torch.cat([model(row[None]).logits for row in known])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


def test_a_layer_computes_only_rows_that_still_run():
    depths = (4, 1, 2, 0, 3)
    model, known = s.build(halting=s.Depth(depths)), tokens(2, 10)
    output = model(known)
    expected = tuple(2 * sum(depths[i % 5] > layer for i in range(10)) for layer in range(4))
    assert output.rows == expected == (16, 12, 8, 4)
    for layer, rows in zip(model.trunk.layers, expected, strict=True):
        assert layer.channel.handed == [rows]
        assert sum(layer.mixer.handed[0]) == rows


def test_a_gate_leaves_rows_out_of_the_work():
    model, known = s.build(gate=s.Every(every=4)), tokens(2, 16)
    assert model(known).rows == (8, 8, 8, 8)
    assert [layer.channel.handed for layer in model.trunk.layers] == [[8]] * 4


@pytest.mark.parametrize(("scope", "mixer", "channel"), [("mixer", (4, 4), 32), ("channel", (2, 16), 8)])
def test_a_gate_over_half_a_layer_leaves_the_other_half_alone(scope, mixer, channel):
    model, known = s.build(gate=s.Every(every=4, scope=scope)), tokens(2, 16)
    output = model(known)
    assert output.rows == (20, 20, 20, 20)  # 8 of 32 rows in one half, 32 in the other
    for layer in model.trunk.layers:
        assert layer.mixer.handed == [mixer]  # lengths of the packed rows, or the shape of all of them
        assert layer.channel.handed == [channel]
    layers = layers_run(output.layers, 16)
    assert set(layers.unique().tolist()) == {2.5}  # each position is kept in one layer of four


def test_rows_that_have_halted_are_not_filled_in():
    model, known = s.build(depth=2, halting=s.Depth((1,)), gate=s.Every(every=2)), tokens(1, 8)
    seen = []
    model.trunk.layers[1].register_forward_hook(lambda *_: seen.append("ran"))
    x, _ = model.trunk(model.embedding(known, None), known, torch.arange(8)[None])
    once = s.build(depth=2, halting=s.Depth((1,)), gate=s.Every(every=2)).trunk
    once.resolution.stacks = (Stack(0, (0,)),)
    expected, _ = once(model.embedding(known, None), known, torch.arange(8)[None])
    assert torch.equal(x, expected)
    assert not seen


def test_layers_run_counts_what_ran_for_each_token():
    depths = (4, 1, 2, 0, 3)
    output = s.build(halting=s.Depth(depths))(tokens(2, 10))
    assert layers_run(output.layers, 10).tolist() == [[depths[i % 5] for i in range(10)]] * 2


def test_a_token_counts_the_layers_of_the_coarse_row_it_reads():
    model = s.build(resolution=s.Strided(HOURGLASS), halting=s.Depth((2, 0, 0, 2)))
    # coarse rows stand at 0, 3, 6: those at 0 and 3 run both middle layers, the one at 6 none; stacks of
    # one layer run it where the depth is not 0
    expected = [4, 2, 2, 4, 4, 2, 0, 2]
    assert layers_run(model(tokens(1, 8)).layers, 8)[0].tolist() == expected


def test_exits_become_answers_read_by_the_same_head():
    model, known = s.build(halting=s.Exits()), tokens()
    output = model(known)
    assert len(output.answers) == 4
    assert output.answers[-1].logits is output.logits
    model.trunk.resolution.stacks = (Stack(0, (0,)),)
    assert torch.equal(model(known).logits, output.answers[0].logits)


def test_exits_before_the_last_stack_are_refused():
    with pytest.raises(ValueError, match="only the last stack"):
        s.build(halting=s.Exits(), resolution=s.Strided(HOURGLASS))(tokens())


def test_parts_that_anneal_are_told_how_far_the_training_is():
    model, shares = s.build(), []
    model.trunk.layers[1].mixer.anneal = shares.append
    model.anneal(0.25)
    assert shares == [0.25]


def test_halting_and_gate_together_run_what_both_allow():
    model, known = s.build(halting=s.Depth((2, 4)), gate=s.Every(every=2)), tokens(1, 8)
    # layer i keeps positions of i's parity; even positions run 2 layers, odd ones 4
    assert model(known).rows == (4, 4, 0, 4)
    assert model.trunk.layers[2].channel.handed == []


def test_a_coarse_level_computes_fewer_rows():
    model, known = s.build(resolution=s.Strided(HOURGLASS, factor=3)), tokens(2, 14)
    assert model(known).rows == (28, 10, 10, 28)


def test_penalties_come_back_by_name_summed_over_layers_and_stacks():
    model = s.build(resolution=s.Strided(HOURGLASS), gate=s.Every())
    penalties = model(tokens()).penalties
    assert set(penalties) == {"balance", "ponder", "sparsity"}
    assert penalties["balance"] == pytest.approx(4 * 0.5)
    assert penalties["ponder"] == pytest.approx(3 * 0.25)


def test_masks_that_keep_everything_change_nothing_bitwise():
    known = tokens()
    dense = s.build()(known).logits
    assert torch.equal(s.build(halting=s.Depth((4,)))(known).logits, dense)
    for scope in ("layer", "mixer", "channel"):
        gated = s.build(gate=s.Every(every=1, weight=1.0, scope=scope))(known).logits
        assert torch.equal(gated, dense)


def test_gradients_reach_every_parameter_through_gather_and_scatter():
    model = s.build(resolution=s.Strided(HOURGLASS, factor=3), halting=s.Depth((2, 1)), gate=s.Every(every=2))
    model(tokens()).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("length", [1, 2, 3, 40])
def test_any_length(length):
    for names in COMBINATIONS:
        assert model_of(*names)(tokens(2, length)).logits.shape == (2, length, s.VOCABULARY)


def test_the_two_wirings_differ_and_are_what_they_say():
    known = tokens(1, 5)
    sequential, parallel = s.build(depth=1), s.build(depth=1, wiring="resnet-bk")
    assert not torch.equal(sequential(known).logits, parallel(known).logits)
    layer = parallel.trunk.layers[0]
    x = torch.randn(5, s.WIDTH, dtype=torch.float64)
    c = layer.channel(layer.channel_norm(x))[0]
    position = torch.arange(5)[None]
    mixed = layer.mixer(layer.mixer_norm(c)[None], position, None)[0]
    out, _ = layer(x, lambda h: layer.mixer(h[None], position, None)[0])
    torch.testing.assert_close(out, x + c + mixed)
