"""Active selection: the least certain candidates, in batches, on a schedule, with a uniform share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pupil
import pytest

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.active import MEASURES, Active, ActiveSelector
from resnetbk_plugins.data_selector.shuffle import Shuffle

WINDOW, BATCH, STEPS = 32, 8, 80


def build(**keys: Any) -> ActiveSelector:
    return Active(**keys).build(tokens=pupil.TOKENS, window=WINDOW, batch=BATCH, seed=0)


@pytest.mark.parametrize("measure", MEASURES)
def test_prefers_noise_which_is_its_known_fault(measure: str) -> None:
    selector = build(measure=measure, pool=4.0)
    chosen = pupil.train(selector, STEPS)[STEPS // 2 :, selector.uniform :]
    easy, learnable, noise = np.bincount(pupil.kinds(Windows(chosen.ravel(), WINDOW)), minlength=3)
    assert noise > 2 * (learnable + easy)


def test_without_noise_it_prefers_what_is_not_learned_yet() -> None:
    tokens = pupil.TOKENS[: 2 * pupil.KIND_TOKENS]
    selector = Active().build(tokens=tokens, window=WINDOW, batch=BATCH, seed=0)
    chosen = pupil.train(selector, STEPS)[STEPS // 2 :, selector.uniform :]
    assert pupil.kinds(Windows(chosen.ravel(), WINDOW)).mean() > 0.9


def test_scores_the_candidates_of_every_refresh_and_nothing_in_the_warmup() -> None:
    student = pupil.Pupil()
    pupil.train(build(refresh=4, warmup=0.1, pool=2.5, uniform=0.25), STEPS, student)
    assert student.scored == (STEPS - 8) // 4 * 60  # 2.5 for each of 6 windows in 4 steps


def test_scores_in_pieces_no_larger_than_a_batch() -> None:
    sizes = []

    def score(windows: Windows, measure: str) -> np.ndarray:
        sizes.append(len(windows.starts))
        return np.zeros(len(windows.starts), np.float32)

    build(refresh=3, pool=1.5, warmup=0.0).select(SelectionContext(0, 0.0, score))
    assert sizes == [8, 8, 8, 3]


def test_what_is_not_chosen_is_shuffle_on_from_the_warmup() -> None:
    starts = pupil.train(build(uniform=0.25, warmup=0.2, refresh=8), STEPS)
    unchosen = np.concatenate([starts[:16].ravel(), starts[16:, :2].ravel()])
    whole = pupil.train(Shuffle().build(tokens=pupil.TOKENS, window=WINDOW, batch=BATCH, seed=0), STEPS)
    np.testing.assert_array_equal(unchosen, whole.ravel()[: len(unchosen)])


def test_choosing_begins_when_the_warmup_ends() -> None:
    student = pupil.Pupil()
    pupil.train(build(uniform=0.0, warmup=0.5, refresh=16), 44, student)  # 22 is no multiple of 16
    assert student.scored == 2 * 2 * 16 * BATCH


def test_the_chosen_are_the_least_sure_candidates_each_once() -> None:
    asked: list[np.ndarray] = []

    def score(windows: Windows, measure: str) -> np.ndarray:
        asked.append(windows.starts)
        return windows.starts.astype(np.float32)

    selector = build(refresh=4, warmup=0.0, uniform=0.0)
    selected = [selector.select(SelectionContext(step, 0.0, score)).starts for step in range(4)]
    candidates = np.sort(np.concatenate(asked))
    np.testing.assert_array_equal(np.sort(np.concatenate(selected)), candidates[-32:])


def test_a_batch_that_is_all_uniform_asks_for_nothing() -> None:
    student = pupil.Pupil()
    starts = pupil.train(build(uniform=1.0), 10, student)
    assert student.scored == 0
    assert starts.shape == (10, BATCH)


@pytest.mark.parametrize(
    "keys", [{"measure": "surprise"}, {"pool": 0.9}, {"refresh": 0}, {"uniform": -0.1}, {"warmup": 1.0}]
)
def test_bad_keys_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(keys))):
        Active(**keys)
