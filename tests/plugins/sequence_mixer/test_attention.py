from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnetbk.errors import UserError
from resnetbk.metering.flops import FlopCounter
from resnetbk_plugins.sequence_mixer.attention import Attention


class Products(TorchDispatchMode):
    """Records the shape of the second factor of each matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            self.shapes.append(tuple(args[-1].shape))
        return func(*args, **(kwargs or {}))


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
@pytest.mark.parametrize(
    "keys",
    [{}, {"bias": True}, {"kv_heads": 1}, {"qk_norm": True}, *({"window": w} for w in (1, 2, 3, 5, 6, 9)),
     {"kv_heads": 1, "qk_norm": True, "window": 4}],
)  # fmt: skip
def test_rows_equal_an_explicit_softmax(rope: bool, keys: dict[str, int]) -> None:
    mixer = built(rope=rope, rope_base=50.0, **keys)
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    position = torch.tensor([[0, 1, 4, 5, 6, 11]])
    q, k, v = (p(x)[0].unflatten(-1, (-1, 4)) for p in (mixer.query, mixer.key, mixer.value))
    if "qk_norm" in keys:
        q, k = (t / t.square().mean(-1, True).sqrt() for t in (q, k))
        q, k = q * mixer.query_scale, k * mixer.key_scale
    heads = torch.zeros(6, 2, 4, dtype=torch.float64)
    for head in range(2):
        group = head * keys.get("kv_heads", 2) // 2
        spin = [
            [turned(row, int(position[0, i]), 50.0) if rope else row for i, row in enumerate(rows)]
            for rows in (q[:, head], k[:, group])
        ]
        for i in range(6):
            first = max(0, i + 1 - keys.get("window", 6))
            scores = torch.stack([spin[0][i] @ spin[1][j] / math.sqrt(4) for j in range(first, i + 1)])
            heads[i, head] = scores.softmax(0) @ v[first : i + 1, group]
    torch.testing.assert_close(mixer(x, position, None)[0], mixer.output(heads.flatten(1)))


def test_rope_sees_differences_of_positions_only() -> None:
    mixer = built()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    position = torch.randint(1, 5, (2, 9)).cumsum(dim=1)
    here = mixer(x, position, None)
    torch.testing.assert_close(mixer(x, position + 1000, None), here)
    assert (mixer(x, position * 2, None) - here).abs().max() > 1e-3


def test_packed_positions_are_the_numbers_of_rows() -> None:
    x, gaps = torch.randn(1, 5, 8, dtype=torch.float64), torch.tensor([[0, 3, 4, 9, 20]])
    mixer = built(packed=True)
    expected = built()(x, torch.arange(5)[None], None)
    assert torch.equal(mixer(x, gaps, None), expected)
    state, rows = mixer.initial_state(1), []
    for i in range(5):
        row, state = mixer.step(x[:, i], gaps[:, i], state)
        rows.append(row)
    torch.testing.assert_close(torch.stack(rows, 1), expected)


def test_without_rope_positions_do_not_matter() -> None:
    mixer = built(rope=False)
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    position = torch.arange(9).expand(2, 9)
    assert torch.equal(mixer(x, position, None), mixer(x, position * 7, None))


@pytest.mark.parametrize("keys", [{}, {"window": 3, "kv_heads": 1, "qk_norm": True}])
def test_gradients_are_exact(keys: dict[str, int]) -> None:
    mixer = built(**keys)
    x = torch.randn(1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixer(x, torch.arange(4)[None], None), (x,))


def test_with_a_window_the_cache_has_its_rows_and_no_more() -> None:
    mixer = built(window=3, kv_heads=1)
    x = torch.randn(2, 10, 8, dtype=torch.float64)
    position = torch.arange(10).expand(2, 10)
    state = mixer.initial_state(2)
    shapes, steps = [state["key"].shape], []
    for i in range(10):
        row, state = mixer.step(x[:, i], position[:, i], state)
        shapes.append(state["key"].shape)
        steps.append(row)
    assert set(shapes) == {(2, 3, 4)}  # one head of keys, of size 4
    torch.testing.assert_close(torch.stack(steps, 1), mixer(x, position, None))


def test_a_window_does_the_work_of_two_windows_a_row() -> None:
    flops = {}
    for window in (None, 32):
        mixer = Attention(heads=2, window=window).build(width=8, depth=1)
        with FlopCounter() as counter:
            mixer(torch.randn(1, 1024, 8), torch.arange(1024)[None], None)
        projections = 1024 * 8 * 8 * 2 * 4
        flops[window] = counter.flops - projections
    assert flops[None] > 4 * flops[32]


def test_one_projection_reads_three_weights_in_one_product() -> None:
    mixer = Attention(heads=2).build(width=8, depth=1)
    names = [name for name, _ in mixer.named_parameters()]
    assert names == ["query.weight", "key.weight", "value.weight", "output.weight"]
    with Products() as products:
        mixer(torch.randn(1, 5, 8), torch.arange(5)[None], None)
    assert products.shapes == [(8, 24), (8, 8)]


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


def test_heads_of_keys_must_divide_those_of_queries() -> None:
    with pytest.raises(ValueError, match="kv_heads must divide heads = 6, not 4; allowed: 1, 2, 3, 6"):
        Attention(heads=6, kv_heads=4)


@pytest.mark.parametrize("keys", [{"heads": 0}, {"rope_base": 1.0}, {"kv_heads": 0}, {"window": 0}])
def test_mistakes_are_named(keys: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"'{next(iter(keys))}' must be"):
        Attention(**keys)


def test_packed_positions_without_rope_are_refused() -> None:
    with pytest.raises(ValueError, match="needs rope = true"):
        Attention(packed=True, rope=False)
