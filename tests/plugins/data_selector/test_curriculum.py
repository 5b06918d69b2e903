"""Curriculum and its reverse: an order, a pacing, and a probe that advances it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pupil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.curriculum import Curriculum, PacedSelector
from resnetbk_plugins.data_selector.pacing import PACINGS, share
from resnetbk_plugins.data_selector.reverse import Reverse
from resnetbk_plugins.data_selector.shuffle import Shuffle

WINDOW, BATCH, STEPS = 32, 8, 80


def build(use: type[Curriculum] = Curriculum, seed: int = 0, **keys: Any) -> PacedSelector:
    return use(**{"probe": 0, **keys}).build(tokens=pupil.TOKENS, window=WINDOW, batch=BATCH, seed=seed)


def context(step: int, progress: float, loss: float = 1.0) -> SelectionContext:
    return SelectionContext(
        step, progress, lambda windows, measure="loss": np.full(len(windows.starts), loss, np.float32)
    )


@pytest.mark.parametrize("measure", ["ngram", "compressibility", "rarity"])
@pytest.mark.parametrize(("use", "first", "last"), [(Curriculum, 0, 2), (Reverse, 2, 0)])
def test_easy_windows_come_first_and_in_reverse_the_hard_ones(
    use: type[Curriculum], first: int, last: int, measure: str
) -> None:
    """A third of the text is easy, a third noise; after 5 steps 0.3 of it are in use, after 20 steps 0.6."""
    starts = pupil.train(build(use, measure=measure), STEPS)[:20]
    early, later = (
        np.bincount(pupil.kinds(Windows(part.ravel(), WINDOW)), minlength=3) for part in (starts[:5], starts)
    )
    assert early[first] == 5 * BATCH
    assert later[last] == 0


@pytest.mark.parametrize("pacing", PACINGS)
@given(start=st.floats(0.01, 1), way=st.floats(0, 2), further=st.floats(0, 1))
def test_the_share_grows_from_start_to_all(pacing: str, start: float, way: float, further: float) -> None:
    assert share(pacing, start, 0.0) == pytest.approx(start)
    assert share(pacing, start, 1.0) == 1.0
    assert start - 1e-9 <= share(pacing, start, way) <= share(pacing, start, way + further) + 1e-9
    assert share(pacing, start, way + further) <= 1.0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), start=st.floats(0.02, 0.9))
def test_a_pass_chooses_every_window_in_use_once(seed: int, start: float) -> None:
    selector = build(measure="compressibility", pacing="step", start=start, until=1.0, seed=seed)
    pool = int(np.ceil(start * len(selector.order)))
    passes = 3
    ranks = np.concatenate(
        [selector.select(context(s, 0.0)).starts for s in range(-(-passes * pool // BATCH))]
    )
    easiest = np.sort(selector.layout.windows(selector.order[:pool]).starts)
    for pass_ranks in ranks[: passes * pool].reshape(passes, pool):
        np.testing.assert_array_equal(np.sort(pass_ranks), easiest)


def test_what_comes_into_use_is_chosen_before_anything_again() -> None:
    selector = build(start=0.1, until=1.0)
    seen: list[int] = []
    for step in range(20):
        seen += selector.select(context(step, step / 25)).starts.tolist()
    assert len(set(seen)) == len(seen)


def test_when_all_are_in_use_batches_are_those_of_shuffle() -> None:
    selector = build(until=0.5)
    plain = Shuffle().build(tokens=pupil.TOKENS, window=WINDOW, batch=BATCH, seed=0)
    starts, expected = pupil.train(selector, STEPS), pupil.train(plain, STEPS)
    np.testing.assert_array_equal(starts[STEPS // 2 :], expected[STEPS // 2 :])
    assert (starts[: STEPS // 2] != expected[: STEPS // 2]).any(1).all()


def test_the_probe_is_kept_out_and_has_every_difficulty() -> None:
    selector = build(probe=9)
    assert np.bincount(pupil.kinds(selector.probe), minlength=3).tolist() == [3, 3, 3]
    seen = [selector.select(context(step, 0.99 * 0.5)).starts for step in range(100)]
    assert not np.isin(selector.probe.starts, seen).any()


def test_the_probe_is_a_tenth_of_all_windows_at_most() -> None:
    tokens = pupil.TOKENS[: 30 * WINDOW]
    selector = Curriculum(probe=16).build(tokens=tokens, window=WINDOW, batch=BATCH, seed=0)
    assert len(selector.probe.starts) == selector.layout.count // 10


def test_a_stall_skips_a_tenth_of_the_way() -> None:
    selector = build(probe=4, every=5)
    losses = {5: 3.0, 10: 2.0, 15: 1.985, 20: 1.5, 25: 1.6}
    leads = []
    for step in range(26):
        selector.select(context(step, 0.0, losses.get(step, -1.0)))
        leads.append(selector.lead)
    assert leads[14] == 0.0
    assert leads[15] == leads[24] == pytest.approx(0.1)
    assert leads[25] == pytest.approx(0.2)


def test_the_probe_is_evaluated_until_all_windows_are_in_use() -> None:
    student = pupil.Pupil()
    pupil.train(build(probe=4, every=10, until=0.5), STEPS, student)
    assert student.scored == 4 * 3  # at steps 10, 20 and 30
    idle = pupil.Pupil()
    pupil.train(build(probe=0), STEPS, idle)
    assert idle.scored == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"measure": "length"}, "measure"),
        ({"pacing": "cubic"}, "pacing"),
        ({"start": 0.0}, "start"),
        ({"until": 1.5}, "until"),
        ({"every": 0}, "every"),
        ({"measure": "loss"}, "must name a run"),
        ({"reference": "runs/x"}, "measure = 'loss' only"),
    ],
)
@pytest.mark.parametrize("use", [Curriculum, Reverse])
def test_bad_keys_are_refused(use: type[Curriculum], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        use(**keys)
