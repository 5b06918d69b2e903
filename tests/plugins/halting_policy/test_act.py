"""Adaptive computation time against the paper's sums, row by row."""

from __future__ import annotations

import pytest
import synthetic as s
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import Batch, Rows, Stack
from resnetbk.training.objective import objective
from resnetbk_plugins.halting_policy.act import ACT


class Told(nn.Module):
    """A unit whose logit is the first number of the row."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def policy_of(layers: int, **keys: float):
    policy = ACT(**keys).build(width=3, stacks=(Stack(0, tuple(range(layers))),))
    policy.units = nn.ModuleDict({name: Told() for name in policy.units})
    return policy


def rows(x: Tensor) -> Rows:
    return Rows(x, torch.arange(x.shape[1]).repeat(len(x), 1))


def by_hand(chances: list[float], values: list[Tensor], threshold: float) -> tuple[Tensor, int, float]:
    """Graves 2016, equations 6 to 10: the output row, N and R."""
    spent, mixed = 0.0, torch.zeros_like(values[0])
    for n, (chance, value) in enumerate(zip(chances, values, strict=True), start=1):
        if n == len(chances) or spent + chance >= threshold:
            return mixed + (1 - spent) * value, n, 1 - spent
        spent, mixed = spent + chance, mixed + chance * value
    raise AssertionError


@settings(max_examples=40, deadline=None)
@given(
    layers=st.integers(1, 6),
    count=st.integers(1, 5),
    threshold=st.sampled_from([0.3, 0.9, 0.99, 1.0]),
    shift=st.floats(-4, 3),
    seed=st.integers(0, 99),
)
def test_rows_and_cost_are_those_of_the_paper(layers, count, threshold, shift, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    seen = torch.randn(layers, 2, count, 3, generator=generator, dtype=torch.float64)
    seen[..., 0] = 2 * seen[..., 0] + shift
    policy = policy_of(layers, threshold=threshold, ponder=0.5)
    halting, ran = policy.begin(0, rows(torch.zeros_like(seen[0]))), torch.zeros(2, count)
    for layer, x in enumerate(seen):
        ran += 1 if halting.running is None else halting.running
        halting.observe(layer, x)
    left = halting.finish()
    cost = 0.0
    for b in range(2):
        for i in range(count):
            chances = torch.sigmoid(seen[:, b, i, 0]).tolist()
            row, n, rest = by_hand(chances, list(seen[:, b, i]), threshold)
            torch.testing.assert_close(left.x[b, i], row)
            assert ran[b, i] == n
            cost += n + rest
    assert float(left.penalties["ponder"]) == pytest.approx(0.5 * cost / (2 * count))


@settings(max_examples=25, deadline=None)
@given(layers=st.integers(1, 12), scale=st.floats(0, 6), seed=st.integers(0, 99))
def test_weights_sum_to_one(layers, scale, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    policy = policy_of(layers, threshold=0.99)
    x = torch.ones(2, 7, 3)
    halting = policy.begin(0, rows(x))
    for layer in range(layers):
        logits = scale * torch.randn(2, 7, generator=generator)
        halting.observe(layer, torch.cat([logits[..., None], x[..., 1:]], -1))
    torch.testing.assert_close(halting.finish().x[..., 1:], x[..., 1:], rtol=0, atol=1e-6)


def test_the_cost_pushes_the_units_towards_halting() -> None:
    policy = policy_of(3, ponder=1.0)
    x = torch.full((1, 2, 3), -2.0, requires_grad=True)
    halting = policy.begin(0, rows(x))
    for layer in range(3):
        halting.observe(layer, x)
    halting.finish().penalties["ponder"].backward()
    # R = 1 - h_1 - h_2 with h = sigmoid(-2): each row's logit is read twice, and the mean is over two rows
    slope = torch.sigmoid(torch.tensor(-2.0)) * torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(x.grad[..., 0], torch.full((1, 2), -float(slope)))
    assert not x.grad[..., 1:].any()


def test_a_stack_without_layers_gives_back_the_rows_that_entered() -> None:
    policy, x = policy_of(0), torch.randn(2, 4, 3)
    left = policy.begin(0, rows(x)).finish()
    assert left.x is x
    assert not left.penalties


def test_an_untrained_model_runs_every_layer() -> None:
    halting = ACT().build(width=s.WIDTH, stacks=(Stack(0, (0, 1, 2, 3)),))
    output = s.build(halting=halting)(torch.randint(s.VOCABULARY, (3, 20)))
    assert output.rows == (60, 60, 60, 60)


def test_units_stand_between_the_layers_of_a_stack() -> None:
    stacks = (Stack(0, (0, 1)), Stack(1, (2, 3, 4)), Stack(0, (5,)))
    policy = ACT().build(width=8, stacks=stacks)
    assert list(policy.units) == ["0", "2", "3"]


def trained(ponder: float) -> float:
    """The layers run for each token after a short training on text that one layer can predict."""
    torch.manual_seed(0)
    halting = ACT(ponder=ponder, bias=-1.0).build(width=s.WIDTH, stacks=(Stack(0, (0, 1, 2, 3)),))
    model = s.build(halting=halting).float()
    known = (torch.arange(25) + torch.arange(8)[:, None]) % s.VOCABULARY
    batch = Batch(known[:, :-1], known[:, 1:])
    rate = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        rate.zero_grad()
        result, _ = objective(model, batch, "fp32")
        result.loss.backward()
        rate.step()
    return sum(model.eval()(batch.inputs).rows) / batch.inputs.numel()


def test_a_higher_ponder_cost_runs_fewer_layers() -> None:
    cheap, costly = trained(0.0), trained(0.5)
    assert costly < cheap - 0.5


@pytest.mark.parametrize(("key", "value"), [("threshold", 0.0), ("threshold", 1.1), ("ponder", -1.0)])
def test_keys_out_of_range_are_refused(key, value) -> None:
    with pytest.raises(ValueError, match=key):
        ACT(**{key: value})


def test_the_unit_reads_rows_at_any_scale_and_only_its_own() -> None:
    from resnetbk_plugins.halting_policy.halting_unit import HaltingUnit

    torch.manual_seed(0)
    unit, x = HaltingUnit(8, 4, -3.0), torch.randn(5, 8)
    torch.testing.assert_close(unit(1000 * x), unit(x), rtol=1e-4, atol=1e-4)
    h = F.gelu(unit.hidden(unit.norm(x)))
    torch.testing.assert_close(unit(x), h @ unit.readout - 3.0)
    torch.testing.assert_close(unit(x[2:3]), unit(x)[2:3])


def test_ponder_costs_nothing_before_its_start() -> None:
    policy = policy_of(3, ponder=0.5, start=0.6)
    x = torch.zeros(1, 2, 3)
    penalties = []
    for progress in (0.0, 0.59, 0.6, 1.0):
        policy.anneal(progress)
        halting = policy.begin(0, rows(x))
        for layer in range(3):
            halting.observe(layer, x)
        penalties.append(float(halting.finish().penalties["ponder"]))
    assert penalties[:2] == [0.0, 0.0]
    assert penalties[2] == penalties[3] > 0.5
