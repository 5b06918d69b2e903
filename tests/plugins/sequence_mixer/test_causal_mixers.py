"""Properties of every causal, streaming mixer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from resnetbk_plugins.sequence_mixer.attention import Attention
from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal
from resnetbk_plugins.sequence_mixer.bk_moebius import BKMoebius
from resnetbk_plugins.sequence_mixer.bk_resolvent import BKResolvent
from resnetbk_plugins.sequence_mixer.gated_diagonal import GatedDiagonal
from resnetbk_plugins.sequence_mixer.gated_linear import GatedLinear

WIDTH = 12
COMPONENTS = {
    "bk-causal": BKCausal(chains=10),
    "bk-causal without convolution": BKCausal(chains=9, convolution=0),
    "attention with convolution": Attention(heads=2, convolution=3),
    "bk-resolvent": BKResolvent(chains=10),
    "bk-resolvent without convolution": BKResolvent(chains=7, convolution=0),
    "bk-causal, signed": BKCausal(chains=10, hopping="signed"),
    "bk-resolvent, signed": BKResolvent(chains=10, hopping="signed"),
    "bk-moebius": BKMoebius(chains=7),
    "bk-moebius without values": BKMoebius(chains=5, values=False),
    "bk-moebius without convolution": BKMoebius(chains=3, convolution=0),
    "gated-linear": GatedLinear(heads=3, keys=5, chunk=8),
    "gated-linear without convolution": GatedLinear(heads=2, keys=16, chunk=16, convolution=0),
    "gated-diagonal": GatedDiagonal(),
    "gated-diagonal without convolution": GatedDiagonal(channels=17, convolution=0),
    "gated-diagonal without output gate": GatedDiagonal(channels=17, output_gate=False),
    "attention": Attention(heads=3),
    "attention without rope": Attention(heads=2, rope=False, bias=True),
    "attention in groups, normed": Attention(heads=6, kv_heads=2, qk_norm=True),
    "attention in a window": Attention(heads=2, window=7),
    "attention in a window, with all keys": Attention(
        heads=6, kv_heads=3, window=16, qk_norm=True, bias=True, convolution=2
    ),
}
every_mixer = pytest.mark.parametrize("name", COMPONENTS)


def built(name: str, seed: int = 0) -> nn.Module:
    """A mixer whose output projection is no longer zero."""
    torch.manual_seed(seed)
    mixer = COMPONENTS[name].build(width=WIDTH, depth=2)
    nn.init.normal_(mixer.output.weight)
    return mixer


def rows(batch: int, count: int) -> tuple[Tensor, Tensor]:
    """Rows, and rising positions with gaps as a scheduler or a gate leaves them."""
    x = torch.randn(batch, count, WIDTH)
    position = torch.randint(1, 4, (batch, count)).cumsum(dim=1) - 1
    return x, position


def indexed(state: dict[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
    return {key: value[chosen] for key, value in state.items()}


def written(state: dict[str, Tensor], chosen: Tensor, part: dict[str, Tensor]) -> dict[str, Tensor]:
    """`part` back at rows `chosen`, a dimension 1 that grew filled up with zeros elsewhere."""
    whole = {}
    for key, new in part.items():
        old = state[key]
        grown = new.new_zeros(len(old), *new.shape[1:])
        grown[(slice(None), *(slice(size) for size in old.shape[1:]))] = old
        grown[chosen] = new
        whole[key] = grown
    return whole


@every_mixer
def test_a_fresh_mixer_adds_nothing(name: str) -> None:
    mixer = COMPONENTS[name].build(width=WIDTH, depth=2)
    assert torch.equal(mixer(*rows(2, 5), None), torch.zeros(2, 5, WIDTH))


@every_mixer
@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 70), cut=st.floats(0, 1), seed=st.integers(0, 99))
def test_rows_do_not_see_later_rows(name: str, count: int, cut: float, seed: int) -> None:
    mixer = built(name, seed)
    x, position = rows(2, count)
    common = 1 + int(cut * (count - 2))
    other, moved = x.clone(), position.clone()
    other[:, common:] = 5 * torch.randn(2, count - common, WIDTH)
    moved[:, common:] += 3
    before, after = mixer(x, position, None), mixer(other, moved, None)
    assert torch.equal(before[:, :common], after[:, :common])
    assert not torch.equal(before[:, common:], after[:, common:])


@every_mixer
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("count", "common"), [(3, 1), (70, 69), (300, 131)])
def test_rows_do_not_see_later_rows_that_are_not_finite(
    name: str, bad: float, count: int, common: int
) -> None:
    mixer = built(name)
    x, position = rows(2, count)
    other = x.clone()
    other[1, common:] = bad
    before, after = mixer(x, position, None), mixer(other, position, None)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1, :common], after[1, :common])
    assert not after[1, common:].isfinite().any(-1).any()


@pytest.mark.parametrize("name", ["attention", "attention in a window", "gated-linear"])
def test_what_is_always_replaced_elsewhere_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = built(name)
    x, position = rows(2, 70)
    before = mixer(x, position, None)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(mixer(x, position, None), before)


@every_mixer
def test_streaming_equals_parallel(name: str) -> None:
    mixer = built(name)
    x, position = rows(3, 40)
    state, actual = mixer.initial_state(3), []
    for i in range(40):
        row, state = mixer.step(x[:, i], position[:, i], state)
        actual.append(row)
    torch.testing.assert_close(torch.stack(actual, dim=1), mixer(x, position, None), atol=1e-5, rtol=1e-5)


@every_mixer
def test_steps_of_a_part_of_the_batch_equal_packed_rows(name: str) -> None:
    mixer = built(name)
    x, position = rows(4, 30)
    present = torch.rand(4, 30) < 0.6
    present[3] = False
    present[3, 7] = True
    state = mixer.initial_state(4)
    streamed: list[list[Tensor]] = [[] for _ in range(4)]
    for i in range(30):
        chosen = present[:, i].nonzero().flatten()
        if not len(chosen):
            continue
        actual, part = mixer.step(x[chosen, i], position[chosen, i], indexed(state, chosen))
        state = written(state, chosen, part)
        for b, row in zip(chosen.tolist(), actual, strict=True):
            streamed[b].append(row)
    for b in range(4):
        alone = mixer(x[b, present[b]][None], position[b, present[b]][None], None)[0]
        torch.testing.assert_close(torch.stack(streamed[b]), alone, atol=1e-5, rtol=1e-5)


@every_mixer
def test_step_leaves_the_state_it_was_given_alone(name: str) -> None:
    mixer = built(name)
    x, position = rows(2, 3)
    _, state = mixer.step(x[:, 0], position[:, 0], mixer.initial_state(2))
    before = {key: value.clone() for key, value in state.items()}
    first, _ = mixer.step(x[:, 1], position[:, 1], state)
    mixer.step(x[:, 2], position[:, 2], state)
    again, _ = mixer.step(x[:, 1], position[:, 1], state)
    assert torch.equal(first, again)
    assert all(torch.equal(state[key], value) for key, value in before.items())


@every_mixer
def test_ragged_rows_equal_one_by_one(name: str) -> None:
    mixer = built(name)
    x, position = rows(4, 20)
    length = torch.tensor([20, 1, 0, 13])
    packed = mixer(x, position, length)
    for b, real in enumerate(length.tolist()):
        alone = mixer(x[b : b + 1, :real], position[b : b + 1, :real], None)
        torch.testing.assert_close(packed[b, :real], alone[0], atol=1e-5, rtol=1e-5)


@every_mixer
@pytest.mark.parametrize(("batch", "count"), [(2, 0), (2, 1), (0, 4), (1, 257)])
def test_any_number_of_rows(name: str, batch: int, count: int) -> None:
    mixer = built(name)
    x, position = rows(batch, count)
    actual = mixer(x.requires_grad_(), position, None)
    assert actual.shape == (batch, count, WIDTH)
    actual.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


@every_mixer
def test_steps_of_no_sequence(name: str) -> None:
    mixer = built(name)
    actual, _ = mixer.step(torch.zeros(0, WIDTH), torch.zeros(0, dtype=torch.int64), mixer.initial_state(0))
    assert actual.shape == (0, WIDTH)


@every_mixer
def test_gradients_reach_every_parameter_and_repeat_exactly(name: str) -> None:
    mixer = built(name)
    x, position = rows(3, 17)
    x.requires_grad_()
    runs = []
    for _ in range(2):
        mixer.zero_grad()
        x.grad = None
        mixer(x, position, None).square().sum().backward()
        runs.append([p.grad.clone() for p in (x, *mixer.parameters())])
    for (key, _), first, second in zip([("x", x), *mixer.named_parameters()], *runs, strict=True):
        assert bool((first != 0).any()), key
        assert torch.equal(first, second), key


@every_mixer
def test_bfloat16_autocast_stays_close(name: str) -> None:
    mixer = built(name)
    x, position = rows(2, 24)
    exact = mixer(x, position, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = mixer(x, position, None)
        state, steps = mixer.initial_state(2), []
        for i in range(24):
            row, state = mixer.step(x[:, i], position[:, i], state)
            steps.append(row)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()
    assert (torch.stack(steps, dim=1).float() - exact).abs().max() < 0.05 * exact.abs().max()
    rough.float().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in mixer.parameters())


@every_mixer
def test_weights_in_bfloat16_run(name: str) -> None:
    mixer = built(name).to(torch.bfloat16)
    x, position = rows(2, 6)
    assert mixer(x.bfloat16(), position, None).dtype == torch.bfloat16
    actual, _ = mixer.step(x[:, 0].bfloat16(), position[:, 0], mixer.initial_state(2))
    assert actual.dtype == torch.bfloat16


@every_mixer
def test_state_dict_round_trip(name: str) -> None:
    first, second = built(name, 0), built(name, 1)
    x, position = rows(2, 9)
    assert not torch.equal(first(x, position, None), second(x, position, None))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x, position, None), second(x, position, None))
