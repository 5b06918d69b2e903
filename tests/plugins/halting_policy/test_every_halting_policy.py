"""Properties of every halting policy."""

from __future__ import annotations

import copy

import pytest
import synthetic as s
import torch
from torch import Tensor, nn

from resnetbk.kinds import Batch, Rows, Stack
from resnetbk.training.objective import objective
from resnetbk_plugins.halting_policy.act import ACT
from resnetbk_plugins.halting_policy.confidence import Confidence
from resnetbk_plugins.halting_policy.fixed import Fixed
from resnetbk_plugins.halting_policy.ponder import Ponder
from resnetbk_plugins.halting_policy.random_halting import RandomHalting

DEPTH = 4
ONE = (Stack(0, (0, 1, 2, 3)),)
HOURGLASS = (Stack(0, (0, 1)), Stack(1, (2, 3)), Stack(0, ()))
POLICIES = {
    "act": ACT(threshold=0.8, ponder=0.1, bias=-1.0),
    "ponder": Ponder(bias=-0.3),
    "confidence": Confidence(agree=0.5, drop=0.4),
    "fixed": Fixed(layers=3),
    "random": RandomHalting(layers=2.5),
}
LEARNED = ("act", "ponder", "confidence")
every_policy = pytest.mark.parametrize("name", POLICIES)
every_mode = pytest.mark.parametrize("mode", ["eval", "train"])
learned = pytest.mark.parametrize("name", LEARNED)


def built(name: str, width: int = s.WIDTH, stacks: tuple[Stack, ...] = ONE, seed: int = 3):
    """A policy of which some rows halt after each layer."""
    torch.manual_seed(seed)
    policy = POLICIES[name].build(width=width, stacks=stacks)
    if isinstance(policy, nn.Module):
        for key, parameter in policy.named_parameters():
            if key.endswith("readout"):
                nn.init.normal_(parameter, std=1.5)
    return policy


def model_of(name: str, mode: str = "eval", seed: int = 0):
    model = s.build(depth=DEPTH, halting=built(name), seed=seed)
    return model.train(mode == "train")


def tokens(batch: int = 3, length: int = 14, seed: int = 1) -> Tensor:
    return torch.randint(s.VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def rows(batch: int, count: int) -> Rows:
    return Rows(torch.randn(batch, count, s.WIDTH), torch.arange(count).repeat(batch, 1))


def states(count: int, batch: int = 3, layers: int = DEPTH, seed: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, count, s.WIDTH, generator=generator) for _ in range(layers)]


def passed(policy, entered: Rows, seen: list[Tensor]):
    """A pass in which halted rows stay unchanged; the masks, and the result."""
    halting, x, masks = policy.begin(0, entered), entered.x, []
    for layer, after in enumerate(seen):
        running = halting.running
        masks.append(None if running is None else running.clone())
        x = after if running is None else torch.where(running[..., None], after, x)
        halting.observe(layer, x)
    return masks, halting.finish()


@every_policy
@every_mode
def test_rows_that_halt_are_not_computed(name: str, mode: str) -> None:
    model, known = model_of(name, mode), tokens(4, 16)
    output = model(known)
    assert output.rows[0] == 64
    assert list(output.rows) == sorted(output.rows, reverse=True)
    for layer, count in zip(model.trunk.layers, output.rows, strict=True):
        assert sum(layer.channel.handed) == count
    assert sum(output.rows) < 4 * 64


@every_policy
@every_mode
def test_what_is_not_finite_is_not_hidden(name: str, mode: str) -> None:
    policy, seen = built(name), states(6)
    if isinstance(policy, nn.Module):
        policy.train(mode == "train")
    for x in seen:
        x[1, 2] = torch.nan
    _, result = passed(policy, rows(3, 6), seen)
    for x in (result.x, *(answer.x for answer in result.exits)):
        bad = x.isnan().any(-1)
        assert bool(bad[1, 2])
        assert int(bad.sum()) == 1


@every_policy
@every_mode
def test_nothing_depends_on_later_tokens(name: str, mode: str) -> None:
    model, known = model_of(name, mode), tokens()
    for cut in (1, 6, 13):
        changed = known.clone()
        changed[:, cut:] = (changed[:, cut:] + 3) % s.VOCABULARY
        torch.manual_seed(4)
        before = model(known)
        torch.manual_seed(4)
        after = model(changed)
        # where the number of rows depends on the text, so does the rounding of matrix products
        exact = name not in LEARNED or (mode == "train" and name != "act")
        tolerance = 0.0 if exact else 1e-12
        torch.testing.assert_close(
            after.logits[:, :cut], before.logits[:, :cut], rtol=tolerance, atol=tolerance
        )
        assert not torch.equal(after.logits[:, cut:], before.logits[:, cut:])
        for one, other in zip(before.answers, after.answers, strict=True):
            assert torch.equal(one.logits[:, :cut], other.logits[:, :cut])
            assert torch.equal(_weights(one, known)[:, :cut], _weights(other, known)[:, :cut])


def _weights(answer, known: Tensor) -> Tensor:
    return torch.as_tensor(answer.weight).expand(known.shape)


@every_policy
def test_decisions_are_the_same_to_the_bit_for_the_same_rows(name: str) -> None:
    """Input rows differ in the future only: masks and output rows of the past do not."""
    policy, seen, entered = built(name), states(12), rows(3, 12)
    for mode in (True, False):
        if isinstance(policy, nn.Module):
            policy.train(mode)
        for cut in (1, 7):
            changed = [torch.cat([x[:, :cut], -x[:, cut:]], 1) for x in seen]
            torch.manual_seed(0)
            before, left = passed(policy, entered, seen)
            torch.manual_seed(0)
            after, other_left = passed(policy, entered, changed)
            every = torch.ones(3, 12, dtype=torch.bool)
            for mask, other in zip(before, after, strict=True):
                one, two = (every if each is None else each for each in (mask, other))
                assert torch.equal(one[:, :cut], two[:, :cut])
            torch.testing.assert_close(left.x[:, :cut], other_left.x[:, :cut], rtol=1e-6, atol=1e-6)


@every_policy
def test_one_token_at_a_time_gives_the_same_numbers(name: str) -> None:
    model, known = model_of(name), tokens()
    with torch.no_grad():
        expected = model(known).logits
        state, streamed = model.initial_state(len(known)), []
        for layer in state["trunk"]["layers"]:
            layer.update({key: value.double() for key, value in layer.items()})
        for column in known.unbind(1):
            logits, state = model.step(column, state)
            streamed.append(logits)
    torch.testing.assert_close(torch.stack(streamed, 1), expected, rtol=1e-10, atol=1e-10)


@every_policy
def test_sequences_of_a_batch_do_not_touch_each_other(name: str) -> None:
    model, known = model_of(name), tokens(4, 11)
    alone = torch.cat([model(row[None]).logits for row in known])
    torch.testing.assert_close(model(known).logits, alone, rtol=1e-10, atol=1e-10)


@every_policy
@every_mode
@pytest.mark.parametrize("length", [1, 2, 29])
def test_any_length(name: str, mode: str, length: int) -> None:
    logits = model_of(name, mode)(tokens(2, length)).logits
    assert logits.shape == (2, length, s.VOCABULARY)
    assert bool(logits.isfinite().all())


@every_policy
@every_mode
def test_padding_is_never_read(name: str, mode: str) -> None:
    policy = built(name)
    if isinstance(policy, nn.Module):
        policy.train(mode == "train")
    policy.drop = policy.leave = 0.0  # random exits depend on the shape
    length = torch.tensor([9, 1, 4])
    real = torch.arange(9) < length[:, None]
    entered = rows(3, 9)
    entered.x[~real] = torch.nan
    ragged = Rows(entered.x, entered.position, length)
    seen = [x.masked_fill(~real[..., None], torch.nan) for x in states(9)]
    torch.manual_seed(7)
    masks, left = passed(policy, ragged, seen)
    penalty = sum(left.penalties.values())
    costs = []
    for b, count in enumerate(length.tolist()):
        if name == "random" and mode == "train":
            continue  # random numbers depend on the shape
        row = Rows(entered.x[b : b + 1, :count], entered.position[b : b + 1, :count])
        alone_masks, alone = passed(policy, row, [x[b : b + 1, :count] for x in seen])
        torch.testing.assert_close(left.x[b, :count], alone.x[0])
        for mask, alone_mask in zip(masks, alone_masks, strict=True):
            if mask is not None and alone_mask is not None:
                assert torch.equal(mask[b, :count], alone_mask[0])
        for one, other in zip(left.exits, alone.exits, strict=True):
            torch.testing.assert_close(one.weight[b, :count], other.weight[0])
            assert not one.weight[b, count:].any()
        costs.append(sum(float(value.detach()) for value in alone.penalties.values()) * count)
    if left.penalties:
        assert float(penalty.detach()) == pytest.approx(sum(costs) / int(length.sum()), rel=1e-5)
        penalty.backward()
        assert all(bool(p.grad.isfinite().all()) for p in policy.parameters())


@learned
def test_gradients_reach_every_parameter(name: str) -> None:
    model, known = model_of(name, "train"), tokens(4, 16)
    result, output = objective(model, Batch(known[:, :-1], known[:, 1:]), "fp32")
    assert min(output.rows) > 0
    result.loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert bool((parameter.grad != 0).any()), key


@learned
@every_mode
def test_bfloat16_autocast(name: str, mode: str) -> None:
    model, known = model_of(name, mode).float(), tokens(2, 16)
    batch = Batch(known[:, :-1], known[:, 1:])
    result, output = objective(model, batch, "bf16")
    result.loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    assert all(weight.dtype == torch.float32 for weight in (a.weight for a in output.answers))
    assert all(value.dtype == torch.float32 for value in output.penalties.values() if value.requires_grad)


@learned
def test_weights_in_bfloat16_run(name: str) -> None:
    policy = built(name).to(torch.bfloat16)
    entered = rows(2, 6)
    for mode in (True, False):
        _, left = passed(
            policy.train(mode),
            Rows(entered.x.bfloat16(), entered.position),
            [x.bfloat16() for x in states(6, 2)],
        )
        assert left.x.dtype == torch.bfloat16


@learned
def test_state_dict_and_copies_round_trip(name: str) -> None:
    one, other, known = model_of(name), model_of(name, seed=1), tokens()
    assert not torch.equal(one(known).logits, other(known).logits)
    copied = copy.deepcopy(other)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(known).logits, other(known).logits)
    assert not torch.equal(one(known).logits, copied(known).logits)


@every_policy
def test_an_evaluation_repeats_itself(name: str) -> None:
    model, known = model_of(name), tokens()
    first = model(known)
    torch.rand(3)
    assert torch.equal(model(known).logits, first.logits)


@pytest.mark.parametrize("name", ["act", "fixed", "random"])
@every_mode
def test_stacks_at_several_scales_one_of_them_without_layers(name: str, mode: str) -> None:
    model = s.build(
        depth=DEPTH, halting=built(name, stacks=HOURGLASS), resolution=s.Strided(HOURGLASS, factor=3)
    )
    output = model.train(mode == "train")(tokens(2, 14))
    assert output.rows[:3] == pytest.approx((28, output.rows[1], 10))
    assert ("ponder" in output.penalties) == (name == "act")


@pytest.mark.parametrize("name", ["ponder", "confidence"])
def test_exits_at_several_scales_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="exits need one stack of layers, and there are 3"):
        built(name, stacks=HOURGLASS)


@learned
@every_mode
def test_a_single_layer_is_run_for_every_row(name: str, mode: str) -> None:
    stacks = (Stack(0, (0,)),)
    model = s.build(depth=1, halting=built(name, stacks=stacks)).train(mode == "train")
    known = tokens()
    torch.testing.assert_close(model(known).logits, s.build(depth=1)(known).logits)
