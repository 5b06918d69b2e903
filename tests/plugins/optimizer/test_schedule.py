import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetbk_plugins.optimizer.adamw import AdamW
from resnetbk_plugins.optimizer.muon import Muon
from resnetbk_plugins.optimizer.schedule import DECAYS, Schedule

schedules = st.builds(
    Schedule,
    warmup=st.integers(0, 50),
    decay=st.sampled_from(DECAYS),
    decay_share=st.floats(0.01, 1.0),
    final=st.floats(0.0, 1.0),
)


def nanogpt(step: int) -> float:
    """The recipe as published: 1e-3 after 100 steps of warmup, a cosine down to 1e-4 at step 2000."""
    if step < 100:
        return 1e-3 * (step + 1) / 101
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / 1900)) * (1e-3 - 1e-4)


@pytest.mark.parametrize("step", [0, 1, 99, 100, 101, 1000, 1999])
def test_nanogpts_recipe_is_met_exactly(step: int) -> None:
    schedule = Schedule(warmup=100, decay="cosine", decay_share=1.0, final=0.1)
    assert 1e-3 * schedule.factor(step, step / 2000) == pytest.approx(nanogpt(step), rel=1e-12)


def test_nanogpts_recipe_in_numbers() -> None:
    schedule = Schedule(warmup=100, decay="cosine", decay_share=1.0, final=0.1)
    rates = {step: 1e-3 * schedule.factor(step, step / 2000) for step in (0, 99, 100, 1000, 1999)}
    assert rates == pytest.approx(
        {0: 9.900990e-6, 99: 9.900990e-4, 100: 1e-3, 1000: 5.871607e-4, 1999: 1.000006e-4}, rel=1e-6
    )


def test_linear_decay_over_the_last_seventy_percent() -> None:
    schedule = Schedule(decay="linear", decay_share=0.7)
    factors = [schedule.factor(step, step / 10) for step in range(10)]
    assert factors == pytest.approx([1, 1, 1, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])


def test_a_constant_rate_stays_after_warmup() -> None:
    schedule = Schedule(warmup=3, decay="constant", final=0.5)
    assert [schedule.factor(step, step / 8) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


@given(schedule=schedules, steps=st.integers(1, 300))
def test_rises_through_warmup_then_never_again_and_stays_within_bounds(
    schedule: Schedule, steps: int
) -> None:
    course = [schedule.factor(step, step / steps) for step in range(steps)]
    warm, rest = course[: schedule.warmup], course[schedule.warmup :]
    assert warm == sorted(warm)
    assert rest == sorted(rest, reverse=True)
    assert all(0.0 <= factor <= 1.0 for factor in course)
    assert all(factor >= schedule.final - 1e-12 for factor in rest)


@given(schedule=schedules, step=st.integers(0, 1000), progress=st.floats(0.0, 1.0))
def test_any_pair_of_step_and_progress_has_a_rate(schedule: Schedule, step: int, progress: float) -> None:
    """As in a run limited by seconds, not steps."""
    assert 0.0 <= schedule.factor(step, progress) <= 1.0
    assert schedule.factor(step, progress) == schedule.factor(step, progress)


def test_a_warmup_longer_than_the_run_only_rises() -> None:
    schedule = Schedule(warmup=100)
    assert schedule.factor(9, 0.9) == pytest.approx(10 / 101)


@pytest.mark.parametrize("component", [AdamW, Muon])
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"decay": "cosin"}, "'decay' must be in ('linear', 'cosine', 'constant') (got 'cosin')"),
        ({"decay_share": 0.0}, "'decay_share' must be > 0.0: 0.0"),
        ({"final": 1.5}, "'final' must be <= 1.0: 1.5"),
        ({"warmup": -1}, "'warmup' must be >= 0: -1"),
        ({"betas": (0.9, 1.0)}, "'betas' must be < 1.0: 1.0"),
        ({"lr": 0.0}, "'lr' must be > 0.0: 0.0"),
        ({"table_lr": 1e99}, "'table_lr' must be <= 1e+38: 1e+99"),
    ],
)
def test_mistakes_are_told_in_one_line(
    component: type[AdamW | Muon], keys: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        component(**keys)  # type: ignore[arg-type]
    assert caught.value.args[0] == message
