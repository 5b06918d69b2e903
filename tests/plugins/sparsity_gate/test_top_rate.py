from __future__ import annotations

import pytest
import torch

from resnetbk.kinds import Rows
from resnetbk_plugins.sparsity_gate.top_rate import TopRate

WIDTH = 16


def gate_of(**keys: object):
    torch.manual_seed(0)
    return TopRate(**keys).build(width=WIDTH, depth=2)


def rows(mean: float = 0.0, batch: int = 8, count: int = 64) -> Rows:
    """Rows whose first channel drifts with `mean`."""
    x = torch.randn(batch, count, WIDTH)
    x[..., 0] += mean
    return Rows(x, torch.arange(count).repeat(batch, 1))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8])
def test_the_threshold_follows_scores_that_drift(keep: float) -> None:
    gate, shares = gate_of(keep=keep), []
    with torch.no_grad():
        gate.score["1"].weight[0] = 1.0
    for step in range(120):
        decision = gate.keep(1, rows(4 * step / 120))
        if step >= 40:
            shares.append(float(decision.mask.float().mean()))
    assert sum(shares) / len(shares) == pytest.approx(keep, abs=0.05)


@pytest.mark.parametrize("keep", [0.25, 0.5])
def test_the_density_holds_after_a_shock(keep: float) -> None:
    gate = gate_of(keep=keep)
    gate.score["1"].threshold.fill_(30.0)
    for _ in range(60):
        gate.keep(1, rows())
    assert float(gate.eval().keep(1, rows(batch=20)).mask.float().mean()) == pytest.approx(keep, abs=0.05)


def test_the_threshold_moves_in_training_only_and_after_the_decision() -> None:
    gate, known = gate_of(keep=0.3), rows()
    before = gate.score["1"].threshold.clone()
    with torch.no_grad():
        gate.keep(1, known)
    gate.eval().keep(1, known)
    assert torch.equal(gate.score["1"].threshold, before)
    expected = gate.keep(1, known).mask
    assert torch.equal(gate.train().keep(1, known).mask, expected)
    assert not torch.equal(gate.score["1"].threshold, before)
    assert "score.1.threshold" in gate.state_dict()


def test_weights_are_one_and_teach_the_scorer() -> None:
    gate, known = gate_of(), rows()
    decision = gate.keep(1, known)
    assert bool((decision.weight == 1).all())
    assert decision.penalties == {}
    decision.weight.sum().backward()
    margin = gate.score["1"](known.x).detach()
    assert bool(gate.score["1"].weight.grad.any())
    assert margin.shape == (8, 64)


def test_a_score_does_not_depend_on_the_size_of_its_row() -> None:
    gate, known = gate_of().eval(), rows()
    assert torch.equal(gate.keep(1, known).mask, gate.keep(1, Rows(8 * known.x, known.position)).mask)
