"""What selectors may ask a model: its loss, the entropy, margin and accuracy of its predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.kinds import BatchLoss, Windows
from resnetbk.training.learner import Learner
from resnetbk.training.selector_scores import MEASURES, selector_score

LOSSES = torch.tensor([1.0, 2.0])
RESULT = BatchLoss(LOSSES.mean(), LOSSES.mean(), LOSSES, {})


def test_measures_of_known_predictions():
    """Two windows of two tokens: one predicts evenly, the other 0.7, 0.2, 0.1, and then surely."""
    sure = torch.tensor([[0.7, 0.2, 0.1], [1 - 2e-9, 1e-9, 1e-9]])
    logits = torch.stack([torch.ones(2, 3), sure.log()])
    targets = torch.tensor([[0, 1], [0, 1]])
    assert torch.equal(selector_score("loss", RESULT, logits, targets), LOSSES)
    entropy = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1)) / 2
    for measure, known in (
        ("entropy", [math.log(3), entropy]),
        ("margin", [0.0, 0.75]),
        ("accuracy", [0.5, 0.5]),
    ):
        scores = selector_score(measure, RESULT, logits, targets)
        torch.testing.assert_close(scores, torch.tensor(known))


def test_a_single_token_is_certain():
    logits, targets = torch.zeros(2, 3, 1), torch.zeros(2, 3, dtype=torch.long)
    assert selector_score("entropy", RESULT, logits, targets).tolist() == [0.0, 0.0]
    assert selector_score("margin", RESULT, logits, targets).tolist() == [1.0, 1.0]


def test_an_unknown_measure_is_the_users_mistake():
    with pytest.raises(UserError, match="did you mean 'entropy'"):
        selector_score("entropi", RESULT, torch.zeros(2, 3, 4), torch.zeros(2, 3))


def test_a_turn_scores_by_every_measure_and_is_charged(tmp_path):
    learner = Learner(tiny.experiment(tmp_path).spec)
    learner.learn()
    context, _, _ = learner.choose()
    windows = Windows(np.arange(5), 16)
    before = learner.meter.costs["scoring"].tokens
    scores = {measure: context.score(windows, measure) for measure in MEASURES}
    assert learner.meter.costs["scoring"].tokens == before + 4 * 5 * 16
    assert all(values.shape == (5,) and values.dtype == np.float32 for values in scores.values())
    np.testing.assert_array_equal(scores["loss"], context.score(windows))
    assert (scores["entropy"] > 0).all()
    assert (scores["entropy"] <= math.log(256) + 1e-4).all()
    assert ((scores["margin"] >= 0) & (scores["margin"] <= 1)).all()
