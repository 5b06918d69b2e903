from __future__ import annotations

import pytest
import torch

from resnetbk.kinds import Rows
from resnetbk_plugins.kernels.noise import drawn
from resnetbk_plugins.sparsity_gate.gumbel import Gumbel

WIDTH = 16


def gate_of(**keys: object):
    torch.manual_seed(0)
    return Gumbel(**keys).build(width=WIDTH, depth=2)


def rows(batch: int, count: int) -> Rows:
    torch.manual_seed(1)
    return Rows(torch.randn(batch, count, WIDTH), torch.arange(count).repeat(batch, 1))


def set_logit(gate, value: float) -> None:
    importance = gate.importance["1"]
    with torch.no_grad():
        importance.output.zero_()
        importance.bias.fill_(value)


def test_the_temperature_falls_geometrically() -> None:
    gate = gate_of(temperature=2.0, final_temperature=0.5)
    assert gate.temperature == 2.0
    for progress, temperature in ((0.0, 2.0), (0.5, 1.0), (1.0, 0.5)):
        gate.anneal(progress)
        assert gate.temperature == pytest.approx(temperature)


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.0])
def test_while_training_a_row_is_kept_with_the_probability_of_its_logit(logit: float) -> None:
    gate, known = gate_of(), rows(20, 500)
    set_logit(gate, logit)
    share = float(gate.keep(1, known).mask.float().mean())
    assert share == pytest.approx(float(torch.sigmoid(torch.tensor(logit))), abs=0.02)
    gate.eval()
    assert bool((gate.keep(1, known).mask == (logit > 0)).all())


def test_weights_are_one_and_have_the_gradient_of_the_relaxed_gate() -> None:
    gate, known = gate_of(), rows(4, 50)
    gate.anneal(0.5)
    set_logit(gate, 0.3)
    torch.manual_seed(7)
    keep = gate.keep(1, known)
    assert bool((keep.weight == 1).all())
    keep.weight.sum().backward()
    torch.manual_seed(7)
    u = drawn(known.position)
    soft = torch.sigmoid((0.3 + u.logit()) / gate.temperature)
    expected = (soft * (1 - soft)).sum() / gate.temperature
    torch.testing.assert_close(gate.importance["1"].bias.grad, expected)


def test_the_penalty_is_zero_only_where_both_densities_hold() -> None:
    gate, known = gate_of(keep=0.5, weight=3.0), rows(2, 10)
    set_logit(gate, 50.0)
    assert float(gate.keep(1, known).penalties["sparsity"].detach()) == pytest.approx(3.0 * 2 * 0.25)
    set_logit(gate, 0.0)  # half of the rows with noise, none without
    assert float(gate.keep(1, known).penalties["sparsity"].detach()) == pytest.approx(3.0 * 0.25)
    assert not gate.eval().keep(1, known).penalties


@pytest.mark.parametrize(("keep", "pull"), [(0.25, -0.2), (0.5, 0.2)])
def test_the_density_holds_against_a_loss_that_pulls_on_it(keep: float, pull: float) -> None:
    gate = gate_of(keep=keep)
    adam = torch.optim.Adam(gate.parameters(), lr=0.02)
    for step in range(80):
        gate.anneal(step / 80)
        known = Rows(torch.randn(8, 32, WIDTH), torch.arange(32).repeat(8, 1))
        decision = gate.keep(1, known)
        loss = decision.penalties["sparsity"] + pull * (decision.weight * decision.mask).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert float(gate.keep(1, rows(8, 200)).mask.float().mean()) == pytest.approx(keep, abs=0.08)
    assert float(gate.eval().keep(1, rows(8, 200)).mask.float().mean()) == pytest.approx(keep, abs=0.08)
