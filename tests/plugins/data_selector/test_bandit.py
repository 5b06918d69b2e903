"""Bandit: groups with large losses come more often, all by the uniform share, each in exact epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pupil
import pytest

import resnetbk
from resnetbk.errors import UserError
from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.bandit import Bandit, BanditSelector

WINDOW, BATCH, GROUPS = 4, 16, 4
TOKENS = np.zeros(WINDOW * 402, np.uint8)
GROUP = np.repeat(np.arange(402) % GROUPS, WINDOW)


def build(**keys: float) -> BanditSelector:
    return Bandit(**keys).build(tokens=TOKENS, window=WINDOW, batch=BATCH, seed=3, groups=GROUP)


def step(selector: BanditSelector, number: int, losses: np.ndarray) -> Windows:
    """One step, in which a window of group k has losses[k]."""
    context = SelectionContext(step=number, progress=0.0, score=pupil.fickle(0))
    windows = selector.select(context)
    selector.observe(context, windows, losses[selector.group[selector.layout.numbers(windows)]])
    return windows


def test_shares_follow_losses_and_no_group_is_below_its_uniform_share() -> None:
    selector = build(uniform=0.4, rate=1.0)
    np.testing.assert_allclose(selector.shares(), 0.25)
    losses = np.array([0.0, 1.0, 3.0, 0.0], np.float32)
    for number in range(50):
        step(selector, number, losses)
    np.testing.assert_allclose(selector.shares(), [0.1, 0.25, 0.55, 0.1])
    taken = np.bincount(
        np.concatenate([GROUP[step(selector, 50 + i, losses).starts] for i in range(20)]), minlength=GROUPS
    )
    np.testing.assert_allclose(taken / 320, [0.1, 0.25, 0.55, 0.1], atol=0.02)


def test_windows_of_a_group_come_in_exact_epochs() -> None:
    selector = build(uniform=1.0)
    starts = np.concatenate([step(selector, i, np.ones(GROUPS, np.float32)).starts for i in range(26)])
    assert selector.taken.tolist() == [104] * GROUPS
    assert len(np.unique(starts)) == selector.layout.count


def test_it_resumes_bit_for_bit() -> None:
    losses = np.array([0.1, 1.0, 3.0, 0.5], np.float32)
    whole, again = build(), build()
    for number in range(5):
        step(whole, number, losses)
    again.restore(whole.state())
    for number in range(5, 12):
        np.testing.assert_array_equal(step(whole, number, losses).starts, step(again, number, losses).starts)


SPEC = """
name = "bandit"
[data]
corpus = CORPUS
selector = "bandit"
window = 6
[model]
width = 8
depth = 1
mixer = "attention"
[train]
steps = 2
batch = 4
"""


def test_it_chooses_among_the_skills_of_a_task(tmp_path: Path) -> None:
    spec = tmp_path / "s.toml"
    corpus = '{ use = "zipf-skills", skills = 3, bits = 4, examples = 500, held_out = 9 }'
    spec.write_text(SPEC.replace("CORPUS", corpus))
    from resnetbk.training.learner import Learner

    learner = Learner(resnetbk.load(spec).spec)
    learner.learn()
    windows = learner.unread[0].windows
    # the first token of an example names its skill
    skills = learner.data.train[windows.starts // 6 * 6] - 3
    selector = learner.selector
    assert isinstance(selector, BanditSelector)
    np.testing.assert_array_equal(selector.group[selector.layout.numbers(windows)], skills)
    assert np.isfinite(selector.loss).sum() == len(np.unique(skills))


def test_a_text_has_no_groups(tmp_path: Path) -> None:
    spec = tmp_path / "s.toml"
    spec.write_text(SPEC.replace("CORPUS", '"python-docs"'))
    with pytest.raises(UserError, match=r"'bandit' chooses among groups, which 'python-docs' has not"):
        resnetbk.load(spec).train(tmp_path / "run")
