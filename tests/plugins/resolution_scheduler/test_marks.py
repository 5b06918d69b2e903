from __future__ import annotations

import pytest
import torch
from torch import nn

from resnetbk.kinds import Rows
from resnetbk_plugins.resolution_scheduler.boundary_module import POOLED
from resnetbk_plugins.resolution_scheduler.marks import Marks
from resnetbk_plugins.resolution_scheduler.marks_module import MarkedResolution

WIDTH = 6


def built(**keys: float) -> MarkedResolution:
    torch.manual_seed(0)
    module = Marks(layers=(0, 2, 0), **keys).build(width=WIDTH, depth=2)
    assert isinstance(module, MarkedResolution)
    nn.init.normal_(module.pool)
    nn.init.normal_(module.spread)
    return module.double()


def rows(batch: int, count: int) -> Rows:
    x = torch.randn(batch, count, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Rows(x, torch.arange(count).repeat(batch, 1))


def down(module: MarkedResolution, fine: Rows) -> Rows:
    return module.down(1, fine, torch.zeros_like(fine.position))


def test_coarse_rows_stand_where_the_score_is_above_its_threshold_and_at_the_first_row() -> None:
    module, fine = built(rate=0.3).eval(), rows(3, 40)
    coarse = down(module, fine)
    weight = module.score.weight
    scores = (fine.x @ weight) / fine.x.square().mean(-1).sqrt()
    assert coarse.length is not None
    for b in range(3):
        begins = [i for i in range(40) if i == 0 or scores[b, i] > module.score.threshold]
        assert coarse.position[b, : coarse.length[b]].tolist() == begins
        for j, i in enumerate(begins):
            window = torch.cat((torch.zeros(POOLED - 1, WIDTH), fine.x[b]))[i : i + POOLED]
            torch.testing.assert_close(coarse.x[b, j], module.pool @ window.flatten())


def test_in_training_coarse_rows_are_the_same_and_the_threshold_follows_the_rate() -> None:
    module, fine = built(rate=0.2), rows(4, 200)
    with torch.no_grad():
        torch.testing.assert_close(down(module, fine).x, down(module.eval(), fine).x)
        module.train()
        before = module.score.threshold.clone()
        down(module, fine)
        assert torch.equal(module.score.threshold, before)  # without a gradient nothing is learned
    with torch.no_grad():
        module.score.threshold.fill_(-3.0)
    for _ in range(30):
        coarse = down(module, fine)
    assert coarse.length is not None
    assert int(coarse.length.sum()) == pytest.approx(0.2 * 4 * 200, abs=6)


def test_scores_rise_where_the_row_before_would_serve_worse() -> None:
    """The gradient of the smoothing: toward . (x_j - x_{j-1}), through the sigmoid."""
    module, fine = built(rate=0.9), rows(1, 9)
    with torch.no_grad():
        module.score.threshold.fill_(-100.0)
    toward = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    coarse = down(module, fine)
    x = coarse.x.detach()
    margins = (module.score(fine.x)).detach().requires_grad_()
    difference = x - torch.cat((torch.zeros(1, 1, WIDTH), x[:, :-1]), dim=1)
    smoothed = (torch.sigmoid(margins) * (difference * toward).sum(-1)).sum()
    (at_margin,) = torch.autograd.grad(smoothed, margins)
    (coarse.x * toward).sum().backward()
    normed = fine.x / fine.x.square().mean(-1, keepdim=True).sqrt()
    expected = (at_margin[..., None] * normed).sum((0, 1))
    torch.testing.assert_close(module.score.weight.grad, expected, atol=1e-30, rtol=1e-6)


def test_the_share_of_marks_falls_from_all_to_the_rate() -> None:
    module, fine = built(rate=0.2, until=0.5), rows(4, 200)
    shares = []
    for progress in (0.0, 0.25, 0.5, 0.9):
        module.anneal(progress)
        for _ in range(40):
            coarse = down(module, fine)
        assert coarse.length is not None
        shares.append(int(coarse.length.sum()) / 800)
    assert shares == pytest.approx([1.0, 0.6, 0.2, 0.2], abs=0.01)


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"layers": (1, 0, 1)}, "at least 1 in the middle stack"), ({"layers": (1, 2, 1), "rate": 0.0}, "rate")],
)
def test_settings_out_of_range_are_refused(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Marks(**keys)
