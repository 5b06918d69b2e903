from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk_plugins.sequence_mixer.attention import Attention


def built(width: int = 8, **keys: object) -> nn.Module:
    torch.manual_seed(0)
    mixer = Attention(heads=2, **keys).build(width=width, depth=1).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


def turned(row: Tensor, position: int, base: float) -> Tensor:
    """One head's vector as complex numbers (x_i, x_{i + d/2}), each turned by its own angle."""
    half = len(row) // 2
    parts = torch.complex(row[:half], row[half:])
    angle = torch.tensor([position * base ** (-i / half) for i in range(half)], dtype=torch.float64)
    parts = parts * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((parts.real, parts.imag))


@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_equal_an_explicit_softmax(rope: bool, bias: bool) -> None:
    mixer = built(rope=rope, bias=bias, rope_base=50.0)
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    position = torch.tensor([[0, 1, 4, 5, 6, 11]])
    q, k, v = (p(x)[0].unflatten(-1, (2, 4)) for p in (mixer.query, mixer.key, mixer.value))
    heads = torch.zeros(6, 2, 4, dtype=torch.float64)
    for head in range(2):
        spin = [
            [turned(t[i, head], int(position[0, i]), 50.0) if rope else t[i, head] for i in range(6)]
            for t in (q, k)
        ]
        for i in range(6):
            scores = torch.stack([spin[0][i] @ spin[1][j] / math.sqrt(4) for j in range(i + 1)])
            heads[i, head] = scores.softmax(0) @ v[: i + 1, head]
    torch.testing.assert_close(mixer(x, position, None)[0], mixer.output(heads.flatten(1)))


def test_rope_sees_differences_of_positions_only() -> None:
    mixer = built()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    position = torch.randint(1, 5, (2, 9)).cumsum(dim=1)
    here = mixer(x, position, None)
    torch.testing.assert_close(mixer(x, position + 1000, None), here)
    assert (mixer(x, position * 2, None) - here).abs().max() > 1e-3


def test_without_rope_positions_do_not_matter() -> None:
    mixer = built(rope=False)
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    position = torch.arange(9).expand(2, 9)
    assert torch.equal(mixer(x, position, None), mixer(x, position * 7, None))


def test_gradients_are_exact() -> None:
    mixer = built()
    x = torch.randn(1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixer(x, torch.arange(4)[None], None), (x,))


def test_the_cache_is_as_long_as_the_longest_sequence() -> None:
    mixer = built()
    state = mixer.initial_state(2)
    row, place = torch.randn(2, 8, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    assert state["key"].shape == (2, 0, 8)
    _, state = mixer.step(row, place, state)
    state["length"] = torch.tensor([1, 0])  # the second sequence starts again
    _, state = mixer.step(row, place + 1, state)
    assert state["key"].shape == state["value"].shape == (2, 2, 8)
    assert state["length"].tolist() == [2, 1]
    _, short = mixer.step(row[1:], place[1:], {key: value[1:] for key, value in state.items()})
    assert short["key"].shape == (1, 2, 8)  # one row was still free


def test_what_stands_past_the_length_of_a_cache_is_not_seen() -> None:
    mixer = built()
    row, place = torch.randn(1, 8, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    empty = mixer.initial_state(1)
    stale = {key: torch.full((1, 5, 8), 9.0, dtype=torch.float64) for key in ("key", "value")}
    expected, _ = mixer.step(row, place, empty)
    actual, _ = mixer.step(row, place, {**empty, **stale})
    torch.testing.assert_close(actual, expected)


def test_biases_start_at_zero() -> None:
    mixer = Attention(bias=True).build(width=8, depth=1)
    assert all(bool((p.bias == 0).all()) for p in (mixer.query, mixer.key, mixer.value, mixer.output))


@pytest.mark.parametrize(
    ("component", "width", "message"),
    [
        (Attention(heads=3), 8, "heads = 3 does not divide model.width = 8; allowed: 1, 2, 4, 8"),
        (Attention(heads=4), 12, "rope needs an even head size, not 3"),
    ],
)
def test_a_width_that_does_not_fit_is_the_users_mistake(
    component: Attention, width: int, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        component.build(width=width, depth=1)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_odd_head_size_is_fine_without_rope() -> None:
    assert Attention(heads=4, rope=False).build(width=12, depth=1) is not None


@pytest.mark.parametrize("keys", [{"heads": 0}, {"rope_base": 1.0}])
def test_mistakes_are_named(keys: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"'{next(iter(keys))}' must be"):
        Attention(**keys)
