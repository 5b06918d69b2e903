"""Moebius chains: against explicit matrices, and what only they do: follow a group without an error."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from resnetbk_plugins.kernels import transfer
from resnetbk_plugins.kernels.torch_scans import quaternion_product
from resnetbk_plugins.sequence_mixer.bk_moebius import BKMoebius
from resnetbk_plugins.sequence_mixer.bk_moebius_module import rotation_matrix


def built(width: int = 8, **keys: object) -> nn.Module:
    torch.manual_seed(0)
    mixer = BKMoebius(**keys).build(width=width, depth=1).double()
    for name, parameter in mixer.named_parameters():
        if name in ("output.weight", "forget.weight"):
            nn.init.normal_(parameter)
    return mixer


def right(q: Tensor) -> Tensor:
    """(..., 4) -> the real 4x4 matrix R with y q = y R, y a row vector."""
    a, b, c, d = q.unbind(-1)
    rows = ((a, b, c, d), (-b, a, -d, c), (-c, d, a, -b), (-d, -c, b, a))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def test_rows_are_the_formula_row_by_row() -> None:
    """By real 4x4 matrices, chain by chain."""
    mixer = built(width=4, chains=3, convolution=0)
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    turned = (mixer.rotation(x)[0].view(7, 4, 3) + mixer.turn).mT
    q = turned / turned.norm(dim=-1, keepdim=True)
    f = torch.sigmoid(mixer.forget(x)[0] + mixer.memory)
    u = mixer.value(x)[0].view(7, 4, 3).mT
    state = torch.zeros(3, 4, dtype=torch.float64)
    for i in range(7):
        turned_state = (state[:, None] @ right(q[i]))[:, 0]
        state = f[i, :, None] * turned_state + (1 - f[i, :, None]) * u[i]
        features = state.mT.flatten()
        features = features / (features.square().mean() + torch.finfo(torch.float64).eps).sqrt()
        expected = mixer.output(features * nn.functional.silu(mixer.gate(x)[0, i]))
        torch.testing.assert_close(mixer(x, torch.arange(7)[None], None)[0, i], expected)


@pytest.mark.parametrize("values", [True, False])
def test_gradients_are_exact(values: bool) -> None:
    mixer = built(width=3, chains=2, values=values)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    position = torch.arange(5).expand(2, 5)
    names = [name for name, _ in mixer.named_parameters()]

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(mixer, dict(zip(names, weights, strict=True)), (x, position, None))

    assert torch.autograd.gradcheck(run, (x, *mixer.parameters()))


def test_the_rotation_matrix_is_one_and_does_not_mind_the_sign() -> None:
    q, r = nn.functional.normalize(torch.randn(2, 6, 4, 3, dtype=torch.float64), dim=-2)

    def matrix(q: Tensor) -> Tensor:
        return rotation_matrix(q).mT.unflatten(-1, (3, 3))

    unit = torch.eye(3, dtype=torch.float64).expand(6, 3, 3, 3)
    torch.testing.assert_close(matrix(q) @ matrix(q).mT, unit)
    torch.testing.assert_close(torch.linalg.det(matrix(q)), torch.ones(6, 3, dtype=torch.float64))
    torch.testing.assert_close(matrix(quaternion_product(q, r)), matrix(q) @ matrix(r))
    assert torch.equal(matrix(-q), matrix(q))


def test_rotations_start_near_the_identity_and_gates_spread_from_short_to_long_memory() -> None:
    mixer = BKMoebius(chains=7, gate_low=0.1, gate_high=0.99).build(width=64, depth=1)
    f, q, _ = mixer._rows(torch.randn(2, 500, 64))
    assert bool((q[..., 0, :].mean((0, 1)) > 0.6).all())
    expected = torch.linspace(math.log(1 / 9), math.log(99), 7).sigmoid()
    torch.testing.assert_close(f, expected.expand(2, 500, 7))
    assert expected[0] == pytest.approx(0.1)
    assert expected[-1] == pytest.approx(0.99)


@pytest.mark.parametrize("values", [True, False])
def test_the_state_is_float32_under_autocast_and_does_not_grow(values: bool) -> None:
    mixer = BKMoebius(chains=5, values=values).build(width=8, depth=1)
    state = mixer.initial_state(2)
    for i in range(6):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _, state = mixer.step(torch.randn(2, 8), torch.full((2,), i), state)
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        assert shapes == {"quaternion": (2, 4, 5), "rows": (2, 3, 8)}
        assert {value.dtype for value in state.values()} == {torch.float32}


def test_streamed_rotations_keep_norm_1() -> None:
    mixer = BKMoebius(chains=5, values=False).build(width=8, depth=1)
    state = mixer.initial_state(2)
    for i in range(300):
        _, state = mixer.step(torch.randn(2, 8), torch.full((2,), i), state)
    assert (state["quaternion"].norm(dim=1) - 1).abs().max() < 1e-6


def test_a_product_of_a_million_rotations_in_float32_drifts_by_less_than_1e_4() -> None:
    """Against the same product in float64, as rotations."""
    pytest.importorskip("numba")
    generator = torch.Generator().manual_seed(0)
    rows = 1_000_000
    q = nn.functional.normalize(torch.randn(1, rows, 4, 2, generator=generator), dim=2)
    start = torch.cat((q[:, :1], torch.zeros_like(q[:, 1:])), dim=1)
    ones = torch.ones(1, rows, 2)
    y = transfer(ones, q, start)[:, -1]
    exact = transfer(ones.double(), nn.functional.normalize(q.double(), dim=2), start.double())[:, -1]
    assert (nn.functional.normalize(y, dim=1) - nn.functional.normalize(exact, dim=1)).abs().max() < 1e-4


def a5() -> tuple[Tensor, Tensor]:
    """The 60 rotations of the icosahedron as quaternions (60, 4), one of each pair q, -q, and the table of
    their products (60, 60)."""
    golden = (1 + 5**0.5) / 2
    units = [list(sign * row) for row in torch.eye(4).double() for sign in (1, -1)]
    halves = [list(signs) for signs in itertools.product((0.5, -0.5), repeat=4)]
    even = [
        p
        for p in itertools.permutations(range(4))
        if sum(p[i] > p[j] for j in range(4) for i in range(j)) % 2 == 0
    ]
    golden_ones = [
        [(a * golden / 2, b / 2, c / golden / 2, 0.0)[p[i]] for i in range(4)]
        for a, b, c in itertools.product((1, -1), repeat=3)
        for p in even
    ]
    both = torch.tensor([[float(x) for x in q] for q in units + halves + golden_ones], dtype=torch.float64)
    assert len(both) == 120
    same = (both @ both.T).abs() > 1 - 1e-9
    q = both[(same.int().argmax(1) == torch.arange(120))]  # the first of each pair
    products = quaternion_product(q[:, None, :, None], q[None, :, :, None])[..., 0]
    return q, (products @ q.T).abs().argmax(-1)


def test_one_chain_follows_a5() -> None:
    """SU(2) has the double cover of A5 as a subgroup. Through 10 000 rows in float32 the state is closest to
    the element that the table of products gives, at every row."""
    q, table = a5()
    assert q.shape == (60, 4)
    assert all(len(set(row.tolist())) == 60 for row in table)  # closed: a group of 60
    word = torch.randint(60, (10_000,), generator=torch.Generator().manual_seed(0))
    rows = q[word].float()[None, :, :, None]
    start = torch.cat((rows[:, :1], torch.zeros_like(rows[:, 1:])), dim=1)
    y = transfer(torch.ones(1, len(word), 1), rows, start)[0, :, :, 0]
    nearest = (y @ q.float().T).abs().argmax(-1).tolist()
    element, elements = None, word.tolist()
    for i, each in enumerate(elements):
        element = each if element is None else int(table[element, each])
        assert nearest[i] == element


def test_parity_is_a_rotation_by_half_a_turn() -> None:
    """Z2, which no chain that contracts can follow for long: each 1 of a bit string turns by pi."""
    bits = torch.randint(2, (4, 1000), generator=torch.Generator().manual_seed(0))
    q = torch.zeros(4, 1000, 4, 1)
    q[:, :, 0, 0], q[:, :, 1, 0] = 1.0 - bits, bits.float()
    start = torch.cat((q[:, :1], torch.zeros_like(q[:, 1:])), dim=1)
    y = transfer(torch.ones(4, 1000, 1), q, start)
    assert torch.equal(y[:, :, 1, 0].abs().long(), bits.cumsum(1) % 2)


def test_the_gate_forgets() -> None:
    """The influence of a summand n rows back is the product of the gates, at every rotation."""
    f, q = torch.rand(1, 30, 3).double(), torch.randn(1, 30, 4, 3).double()
    x = torch.zeros(1, 30, 4, 3).double()
    x[:, 4, 0] = 1.0
    y = transfer(f, nn.functional.normalize(q, dim=2), x)
    torch.testing.assert_close(y[:, 4:].norm(dim=2), torch.cat((f[:, 4:5] ** 0, f[:, 5:]), 1).cumprod(1))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"chains": 0}, "'chains' must be >= 1: 0"),
        ({"gate_high": 1.0}, "'gate_high' must be < 1.0: 1.0"),
        ({"dropout": 1.0}, "'dropout' must be < 1.0: 1.0"),
    ],
)
def test_mistakes_are_named(keys: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BKMoebius(**keys)


def test_without_values_the_first_row_counts_and_order_matters() -> None:
    """Products of rotations do not commute: exchanging two rows changes all rows after."""
    mixer = built(chains=4, values=False, convolution=0)
    x, position = torch.randn(1, 9, 8, dtype=torch.float64), torch.arange(9)[None]
    swapped = x[:, [1, 0, *range(2, 9)]]
    difference = (mixer(x, position, None) - mixer(swapped, position, None)).abs().amax(-1)
    assert bool((difference > 1e-3).all())
