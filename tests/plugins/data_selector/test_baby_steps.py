"""Baby steps: the first group alone, the next one as soon as losses are low, all of them in time."""

from __future__ import annotations

import numpy as np
import pupil

from resnetbk.kinds import SelectionContext
from resnetbk_plugins.data_selector.baby_steps import BabySteps, BabyStepsSelector

WINDOW, BATCH, GROUPS = 4, 12, 3
TOKENS = np.zeros(WINDOW * 302, np.uint8)
GROUP = np.repeat(np.arange(302) % GROUPS, WINDOW)


def build(**keys: float) -> BabyStepsSelector:
    return BabySteps(**keys).build(tokens=TOKENS, window=WINDOW, batch=BATCH, seed=3, groups=GROUP)


def step(selector: BabyStepsSelector, number: int, loss: float, progress: float = 0.0) -> list[int]:
    """One step, in which every window has `loss`: the windows of each group."""
    context = SelectionContext(step=number, progress=progress, score=pupil.fickle(0))
    windows = selector.select(context)
    selector.observe(context, windows, np.full(BATCH, loss, np.float32))
    return np.bincount(GROUP[windows.starts], minlength=GROUPS).tolist()


def test_a_group_is_added_as_soon_as_the_newest_is_learned() -> None:
    selector = build(at_loss=0.3, rate=1.0)
    assert [step(selector, i, 1.0) for i in range(3)] == [[12, 0, 0]] * 3
    assert step(selector, 3, 0.25) == [12, 0, 0]
    assert step(selector, 4, 1.0) == [6, 6, 0]
    assert step(selector, 5, 0.1) == [6, 6, 0]
    assert step(selector, 6, 9.0) == [4, 4, 4]
    assert step(selector, 7, 0.1) == [4, 4, 4]


def test_an_average_of_losses_decides() -> None:
    selector = build(at_loss=0.3, rate=0.5)
    assert [step(selector, i, loss)[1] for i, loss in enumerate([1.0, 0.1, 0.1, 0.1, 1.0])] == [0, 0, 0, 0, 6]


def test_all_groups_are_used_by_the_share_of_the_run_that_the_spec_says() -> None:
    selector = build(until=0.6)
    counts = [step(selector, i, 9.0, progress) for i, progress in enumerate([0.0, 0.19, 0.2, 0.39, 0.4, 0.9])]
    assert counts == [[12, 0, 0], [12, 0, 0], [6, 6, 0], [6, 6, 0], [4, 4, 4], [4, 4, 4]]


def test_it_resumes_bit_for_bit() -> None:
    losses = [1.0, 0.2, 1.0, 0.2, 0.1, 0.5]
    whole, again = build(rate=1.0), build(rate=1.0)
    for number, loss in enumerate(losses[:3]):
        step(whole, number, loss)
    again.restore(whole.state())
    assert again.used == 2
    for number, loss in enumerate(losses[3:], 3):
        assert step(whole, number, loss) == step(again, number, loss)
        np.testing.assert_array_equal(whole.taken, again.taken)
