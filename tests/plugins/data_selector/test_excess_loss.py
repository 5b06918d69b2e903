"""Excess loss selects text that can still be learned over text that cannot."""

from __future__ import annotations

import math

import numpy as np
import pupil
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from resnetbk.kinds import SelectionContext, Windows
from resnetbk.training.learner import Learner
from resnetbk_plugins.data_selector.excess_loss import ExcessLoss, ExcessLossSelector
from resnetbk_plugins.data_selector.uniform import uniform_windows

WINDOW, BATCH, STEPS = 32, 8, 80


def build(**keys: float) -> ExcessLossSelector:
    return ExcessLoss(**keys).build(tokens=pupil.TOKENS, window=WINDOW, batch=BATCH, seed=0)


def test_prefers_the_learnable_to_noise_and_to_what_is_learned() -> None:
    selector = build()
    chosen = pupil.train(selector, STEPS)[STEPS // 2 :, selector.uniform.batch :]
    easy, learnable, noise = np.bincount(pupil.kinds(Windows(chosen.ravel(), WINDOW)), minlength=3)
    assert learnable > 3 * noise
    assert learnable > 3 * easy


def test_needs_no_scores() -> None:
    student = pupil.Pupil()
    pupil.train(build(), 20, student)
    assert student.scored == 0


def test_the_uniform_share_sees_every_window_in_exact_epochs() -> None:
    selector = build()
    count, per_step = selector.layout.count, selector.uniform.batch
    assert per_step == 2
    starts = pupil.train(selector, count // per_step + 1)[:, :per_step].ravel()[:count]
    np.testing.assert_array_equal(np.sort(starts), selector.layout.windows(np.arange(count)).starts)


def test_noise_has_no_excess_and_nothing_is_known_before_it_was_met() -> None:
    selector = build()
    assert np.isnan(selector.excess).all()
    kinds = pupil.kinds(selector.layout.windows(np.arange(selector.layout.count)))
    nats = [float(selector.irreducible[kinds == kind].mean()) for kind in range(3)]
    assert nats[0] < 0.2
    assert 0.4 < nats[1] < 2.0
    assert nats[2] > math.log(256) - 0.1  # never taken for learnable


def test_keeps_an_exponential_average_of_what_is_above_the_mean() -> None:
    selector = build(rate=0.5)
    selector.irreducible[:] = 1.0  # all equal, so that there is no slope
    numbers = np.arange(BATCH)
    windows = selector.layout.windows(numbers)
    context = SelectionContext(step=0, progress=0.0, score=pupil.fickle(0))
    above = np.array([-1.0, 1.0, 0, 2, 0, 0, 0, 0], np.float32)  # uniform ones, first, are 0 in the mean
    selector.observe(context, windows, 1 + 3 + above)
    np.testing.assert_allclose(selector.excess[numbers], above / 2, atol=1e-5)
    selector.observe(context, windows, 1 + 2 + above)
    mean = (0.8 * 3 + 2) / 1.8
    np.testing.assert_allclose(selector.excess[numbers], above / 4 + (2 + above - mean) / 2, atol=1e-5)
    assert np.isnan(selector.excess[BATCH:]).all()


def test_what_was_not_met_is_taken_for_what_is_as_hard_for_n_grams() -> None:
    selector = build(rate=1.0, uniform=1.0)
    selector.irreducible[:] = np.linspace(1, 5, selector.layout.count)
    numbers = np.arange(0, selector.layout.count, selector.layout.count // BATCH)[:BATCH]
    context = SelectionContext(step=0, progress=0.0, score=pupil.fickle(0))
    x = selector.irreducible[numbers]
    selector.observe(context, selector.layout.windows(numbers), x + 3 - 0.5 * x)
    others = np.setdiff1d(np.arange(selector.layout.count), numbers)
    expected = -0.5 * (selector.irreducible[others] - x.mean())
    np.testing.assert_allclose(selector._relative_excess(others), expected, atol=1e-5)


def test_in_the_first_epoch_too_it_chooses_what_can_be_learned() -> None:
    selector = build(pool=2.0)
    epoch = selector.layout.count // selector.candidates.batch
    chosen = pupil.train(selector, epoch)[epoch // 2 :, selector.uniform.batch :]
    easy, learnable, noise = np.bincount(pupil.kinds(Windows(chosen.ravel(), WINDOW)), minlength=3)
    assert noise < 0.1 * (easy + learnable), (easy, learnable, noise)


@given(share=st.floats(0, 1), batch=st.integers(1, 500))
def test_the_uniform_share_is_kept(share: float, batch: int) -> None:
    size = uniform_windows(share, batch)
    assert 0 <= size <= batch
    assert abs(size - share * batch) <= 1
    assert (size > 0) == (share > 0)


@pytest.mark.parametrize("keys", [{"pool": 0.5}, {"uniform": 1.5}, {"rate": 0.0}])
def test_bad_keys_are_refused(keys: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(keys))):
        ExcessLoss(**keys)


@pytest.mark.parametrize(
    ("selector", "prefers", "over"),
    [
        ('"excess-loss"', "learnable", "noise"),
        ('{ use = "active", measure = "loss", refresh = 4 }', "noise", "learnable"),
    ],
)
def test_a_real_model_is_taught_by_excess_loss_and_led_to_noise_by_loss(tmp_path, selector, prefers, over):
    """Noise here is random letters; its characters cost ln 64 each for ever."""
    letters = np.frombuffer(b"".join(bytes([c]) for c in range(48, 112)), np.uint8)
    noise = letters[pupil.TEXTS["noise"] % 64].tobytes()
    text = b"".join(pupil.TEXTS[kind].tobytes() for kind in ("easy", "learnable")) + noise
    (tmp_path / "mixed.txt").write_bytes(text + b"\n" + text[:500])
    trial = tiny.experiment(
        tmp_path,
        corpus=f'corpus = {{ use = "text", path = "{tmp_path / "mixed.txt"}", held_out = 0.02 }}',
        selector=f"selector = {selector}",
        window="window = 32",
        steps="steps = 60",
        batch="batch = 8",
    )
    learner, chosen = Learner(trial.spec), []
    observe = learner.selector.observe

    def observed(context, windows, losses):
        if context.step >= 30:
            chosen.append(pupil.kinds(Windows(windows.starts[2:], windows.length)))
        observe(context, windows, losses)

    learner.selector.observe = observed
    for _ in range(60):
        learner.learn()
    counts = dict(zip(pupil.KINDS, np.bincount(np.concatenate(chosen), minlength=4)[:3], strict=True))
    assert counts[prefers] > 1.5 * counts[over], counts
