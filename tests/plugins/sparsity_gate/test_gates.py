"""Properties of every gate that skips rows."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import synthetic as s
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from resnetbk.kinds import Keep, Rows
from resnetbk.model.language_model import LanguageModel
from resnetbk_plugins.sparsity_gate.gumbel import Gumbel
from resnetbk_plugins.sparsity_gate.random_gate import Random
from resnetbk_plugins.sparsity_gate.random_gate_module import RandomGate
from resnetbk_plugins.sparsity_gate.top_rate import TopRate

DEPTH = 4
GATES: dict[str, Any] = {"gumbel": Gumbel, "top-rate": TopRate, "random": Random}
SCOPES = ("layer", "mixer", "channel")
MODES = ("eval", "train")
every_gate = pytest.mark.parametrize("name", GATES)
every_scope = pytest.mark.parametrize(("name", "scope"), list(itertools.product(GATES, SCOPES)))


def built(name: str, seed: int = 0, depth: int = DEPTH, **keys: Any) -> Any:
    """A gate whose fill is no longer zero."""
    torch.manual_seed(seed)
    gate = GATES[name](**keys).build(width=s.WIDTH, depth=depth)
    for weight in gate.filler.weights.values():
        nn.init.normal_(weight, std=0.3)
    return gate


def model_of(name: str, seed: int = 0, mode: str = "eval", **keys: Any) -> LanguageModel:
    return s.build(depth=DEPTH, gate=built(name, seed, **keys)).train(mode == "train")


def tokens(batch: int = 3, length: int = 17, seed: int = 1) -> Tensor:
    return torch.randint(s.VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def rows(batch: int, count: int, seed: int = 0, width: int = s.WIDTH) -> Rows:
    """Rows, and rising positions with gaps as a scheduler leaves them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, count, width, generator=generator)
    return Rows(x, torch.randint(1, 4, (batch, count), generator=generator).cumsum(1) - 1)


def force_open(gate: Any) -> None:
    """Makes the gate decide to compute every row."""
    if isinstance(gate, RandomGate):
        gate.density = 2.0
    for module in gate.modules():
        if hasattr(module, "bias"):
            nn.init.constant_(module.bias, 1e4)
        if hasattr(module, "threshold"):
            module.threshold.fill_(-1e4)


def decision(gate: Any, known: Rows, seed: int = 0, layer: int = 1) -> Keep:
    torch.manual_seed(seed)
    return gate.keep(layer, known)


def decides(gate: Any, layer: int) -> bool:
    keep = gate.keep(layer, rows(2, 5))
    return keep.mask is not None or keep.weight is not None or bool(keep.penalties)


@every_gate
def test_at_density_one_there_is_no_gate(name: str) -> None:
    gate = built(name, keep=1.0)
    assert not list(gate.parameters())
    for mode in (True, False):
        gate.train(mode)
        assert not any(decides(gate, layer) for layer in range(DEPTH))


@every_gate
def test_the_layers_that_are_gated(name: str) -> None:
    for layers, gated in ((None, {1, 2, 3}), ((2, 0), {0, 2})):
        gate = built(name, layers=layers)
        assert {layer for layer in range(DEPTH) if decides(gate, layer)} == gated


@every_scope
@pytest.mark.parametrize("mode", MODES)
def test_forced_open_it_is_the_dense_model_to_the_bit(name: str, scope: str, mode: str) -> None:
    model = model_of(name, mode=mode, scope=scope, layers=(0, 1, 2, 3))
    force_open(model.trunk.gate)
    output = model(tokens())
    assert output.rows == (51,) * DEPTH
    assert torch.equal(output.logits, s.build(depth=DEPTH)(tokens()).logits)


@every_scope
@pytest.mark.parametrize("mode", MODES)
def test_rows_left_out_are_not_computed(name: str, scope: str, mode: str) -> None:
    model, counts = model_of(name, mode=mode, scope=scope), {}
    ask = model.trunk.gate.keep

    def watched(layer: int, known: Rows) -> Keep:
        keep = ask(layer, known)
        counts[layer] = 51 if keep.mask is None else int(keep.mask.sum())
        return keep

    model.trunk.gate.keep = watched
    output = model(tokens())
    assert all(0 < counts[layer] < 51 for layer in (1, 2, 3))
    expected = {layer: n if scope == "layer" else (n + 51) / 2 for layer, n in counts.items()}
    assert output.rows == tuple(expected[layer] for layer in range(DEPTH))
    for layer, number in counts.items():
        work = model.trunk.layers[layer]
        if scope != "channel":
            handed = work.mixer.handed[0]
            assert (handed[0] * handed[1] if layer == 0 else sum(handed)) == number
        if scope != "mixer":
            assert work.channel.handed == [number]


@every_scope
def test_one_token_at_a_time_gives_the_same_numbers(name: str, scope: str) -> None:
    model, known = model_of(name, scope=scope), tokens(3, 23)
    expected = model(known).logits
    assert not torch.allclose(expected, s.build(depth=DEPTH)(known).logits)
    state, actual = model.initial_state(3), []
    state["trunk"]["layers"] = [{k: v.double() for k, v in each.items()} for each in state["trunk"]["layers"]]
    for column in known.unbind(1):
        logits, state = model.step(column, state)
        actual.append(logits)
    torch.testing.assert_close(torch.stack(actual, 1), expected, rtol=1e-10, atol=1e-10)


@every_gate
@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 40), cut=st.floats(0, 1), seed=st.integers(0, 99), train=st.booleans())
def test_decisions_do_not_see_later_rows(name: str, count: int, cut: float, seed: int, train: bool) -> None:
    gate, known = built(name, seed).train(train), rows(2, count, seed)
    past = 1 + int(cut * (count - 2))
    other, moved = known.x.clone(), known.position.clone()
    other[:, past:] = 5 * torch.randn(2, count - past, s.WIDTH)
    moved[:, past:] += 3
    again = copy.deepcopy(gate)
    first, second = decision(gate, known, seed), decision(again, Rows(other, moved), seed)
    assert torch.equal(first.mask[:, :past], second.mask[:, :past])
    shorter = decision(copy.deepcopy(again), Rows(known.x[:, :past], known.position[:, :past]), seed)
    if name == "random" or not train:  # a threshold has moved by then
        assert torch.equal(first.mask[:, :past], shorter.mask)


@every_scope
@pytest.mark.parametrize("mode", MODES)
def test_logits_do_not_change_when_the_future_does(name: str, scope: str, mode: str) -> None:
    known, cuts = tokens(), (1, 4, 9, 16)
    for cut in cuts:
        changed = known.clone()
        changed[:, cut:] = (changed[:, cut:] + 3) % s.VOCABULARY
        actual = []
        for text in (known, changed):
            model = model_of(name, mode=mode, scope=scope)
            torch.manual_seed(5)
            actual.append(model(text).logits[:, :cut])
        # the number of rows of a product, and so its rounding, depends on the text
        torch.testing.assert_close(*actual, rtol=1e-12, atol=1e-12)


@every_scope
def test_sequences_of_a_batch_do_not_touch_each_other(name: str, scope: str) -> None:
    model, known = model_of(name, scope=scope), tokens(4, 11)
    alone = torch.cat([model(row[None]).logits for row in known])
    torch.testing.assert_close(model(known).logits, alone, rtol=1e-10, atol=1e-10)


@every_scope
def test_gradients_reach_every_parameter(name: str, scope: str) -> None:
    model = model_of(name, mode="train", scope=scope)
    output = model(tokens())
    (output.logits.square().sum() + sum(output.penalties.values())).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
        assert bool((parameter.grad != 0).any()), key


@every_gate
def test_no_gradient_of_a_decision_goes_into_the_rows(name: str) -> None:
    known = rows(2, 9)
    known.x.requires_grad_()
    keep = built(name).keep(1, known)
    assert keep.weight is None or bool((keep.weight == 1).all())
    lost = [value for value in (keep.weight, *keep.penalties.values()) if value is not None]
    if lost:
        sum(value.sum() for value in lost).backward()
    assert known.x.grad is None


@every_gate
def test_padding_counts_for_nothing(name: str) -> None:
    known, length = rows(4, 20), torch.tensor([20, 1, 0, 13])
    present = torch.arange(20) < length[:, None]
    actual = []
    for padding in (0.0, 50.0, -1e4):
        gate = built(name)
        x = torch.where(present[..., None], known.x, padding)
        keep = decision(gate, Rows(x, known.position, length))
        if keep.penalties:
            keep.penalties["sparsity"].backward()
        gradients = {key: p.grad for key, p in gate.named_parameters() if p.grad is not None}
        actual.append(
            {"mask": keep.mask[present], **keep.penalties, **gradients, **dict(gate.named_buffers())}
        )
    for other in actual[1:]:
        assert set(other) == set(actual[0])
        assert all(torch.equal(other[key], value) for key, value in actual[0].items())


@every_gate
def test_ragged_rows_are_filled_as_if_each_were_alone(name: str) -> None:
    gate, known, length = built(name).eval(), rows(3, 12), torch.tensor([12, 5, 1])
    added = torch.randn(3, 12, s.WIDTH)

    def passed(x: Tensor, position: Tensor, real: Tensor | None, add: Tensor) -> Tensor:
        keep = gate.keep(1, Rows(x, position, real))
        after = torch.where(keep.mask[..., None], x + add, x)
        return gate.fill(1, x, after, keep)

    together = passed(known.x, known.position, length, added)
    for b, real in enumerate(length.tolist()):
        alone = passed(known.x[b : b + 1, :real], known.position[b : b + 1, :real], None, added[b, :real])
        torch.testing.assert_close(together[b, :real], alone[0])


@every_gate
def test_state_dict_and_copies(name: str) -> None:
    first, second = model_of(name, 0), model_of(name, 1)
    if name == "top-rate":
        first.train()(tokens())  # the threshold moves
    first.eval()
    known = tokens()
    assert not torch.equal(first(known).logits, second(known).logits)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(known).logits, second(known).logits)
    assert torch.equal(first(known).logits, copy.deepcopy(first)(known).logits)


@every_scope
def test_under_bfloat16_autocast_the_decisions_are_those_of_fp32(name: str, scope: str) -> None:
    gate, known = built(name, scope=scope), rows(3, 40)
    exact = decision(copy.deepcopy(gate), known)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = decision(gate, known)
    assert torch.equal(rough.mask, exact.mask)
    assert rough.weight is None or rough.weight.dtype == torch.float32
    model = model_of(name, mode="train", scope=scope).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(tokens())
    (output.logits.float().square().sum() + sum(output.penalties.values())).backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


@every_gate
def test_weights_in_bfloat16_run(name: str) -> None:
    model = model_of(name, mode="train").to(torch.bfloat16)
    gate, x = model.trunk.gate, rows(2, 9).x.bfloat16()
    keep = gate.keep(1, Rows(x, rows(2, 9).position))
    after = torch.where(keep.mask[..., None], x + 1, x)
    assert gate.fill(1, x, after, keep).dtype == torch.bfloat16
    first = Keep(keep.mask[:, :1])
    assert gate.fill_step(1, x[:, :1], after[:, :1], first, gate.initial_state(2))[0].dtype == torch.bfloat16


@every_gate
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("batch", "count"), [(2, 0), (2, 1), (0, 4), (1, 257)])
def test_any_number_of_rows(name: str, mode: str, batch: int, count: int) -> None:
    gate, known = built(name).train(mode == "train"), rows(batch, count)
    keep = decision(gate, known)
    assert keep.mask.shape == (batch, count)
    assert gate.fill(1, known.x, known.x, keep).shape == known.x.shape
    assert all(bool(value.isfinite()) for value in keep.penalties.values())


@every_gate
@pytest.mark.parametrize("density", [0.25, 0.5, 0.9])
def test_a_fresh_gate_keeps_about_what_was_asked_for(name: str, density: float) -> None:
    known, shares = rows(8, 200, width=64), []
    for seed in range(4):
        torch.manual_seed(seed)
        gate = GATES[name](keep=density).build(width=64, depth=2).eval()
        shares.append(float(gate.keep(1, known).mask.float().mean()))
    assert abs(sum(shares) / 4 - density) < 0.15
