"""Properties of every selector with state: range, determinism, and resumption bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pupil import play, saved

from resnetbk.errors import UserError
from resnetbk_plugins.data_selector.active import Active
from resnetbk_plugins.data_selector.curriculum import Curriculum
from resnetbk_plugins.data_selector.excess_loss import ExcessLoss
from resnetbk_plugins.data_selector.reverse import Reverse

SELECTORS = {
    "curriculum": Curriculum(measure="compressibility", every=2, probe=4),
    "reverse": Reverse(measure="rarity", pacing="step", every=3),
    "active": Active(refresh=3, warmup=0.15),
    "active-margin": Active(measure="margin", refresh=2, pool=3.5, warmup=0.0, uniform=0.0),
    "excess-loss": ExcessLoss(),
    "excess-loss-alone": ExcessLoss(uniform=0.0, pool=1.5),
}
DRAW = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnetbk_plugins.data_selector.ngram.TABLE_BITS", 12)


sizes = st.tuples(st.integers(2, 500), st.integers(1, 40), st.integers(1, 20)).filter(lambda s: s[0] > s[1])


@pytest.mark.parametrize("name", SELECTORS)
@settings(max_examples=20, deadline=None)
@given(sizes=sizes, seed=st.integers(0, 2**63 - 1))
def test_windows_lie_in_the_text_and_fill_the_batch(
    name: str, sizes: tuple[int, int, int], seed: int
) -> None:
    """Also where a corpus has fewer windows than a batch, down to one."""
    total, window, batch = sizes
    tokens = DRAW.integers(0, 50, total).astype(np.uint8)
    selector = SELECTORS[name].build(tokens=tokens, window=window, batch=batch, seed=seed)
    for starts in play(selector, range(12), 12):
        assert starts.shape == (batch,)
        assert starts.dtype == np.int64
        assert starts.min() >= 0
        assert starts.max() + window <= total - 1


@pytest.mark.parametrize("name", SELECTORS)
@settings(max_examples=12, deadline=None)
@given(stop=st.integers(0, 40), batch=st.integers(1, 9), seed=st.integers(0, 50))
def test_resumed_equals_uninterrupted(name: str, stop: int, batch: int, seed: int) -> None:
    """An epoch has 39 windows: 40 steps pass its end several times, also within a queue or a pass."""
    tokens = DRAW.integers(0, 50, 410).astype(np.uint8)

    def fresh() -> object:
        return SELECTORS[name].build(tokens=tokens, window=10, batch=batch, seed=seed)

    whole = play(fresh(), range(40), 40)
    stopped, resumed = fresh(), fresh()
    first = play(stopped, range(stop), 40)
    state = saved(stopped.state())  # type: ignore[attr-defined]
    play(stopped, range(stop, 40), 40)  # further steps must not change the saved state
    resumed.restore(state)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(whole, first + play(resumed, range(stop, 40), 40))


@pytest.mark.parametrize("name", SELECTORS)
def test_seeds_differ(name: str) -> None:
    tokens = DRAW.integers(0, 50, 2000).astype(np.uint8)
    first, second = (SELECTORS[name].build(tokens=tokens, window=10, batch=8, seed=seed) for seed in (1, 2))
    assert not np.array_equal(play(first, range(5), 40), play(second, range(5), 40))


@pytest.mark.parametrize("name", SELECTORS)
def test_a_corpus_shorter_than_a_window_is_the_users_mistake(name: str) -> None:
    with pytest.raises(UserError, match="at least 9 tokens; this one has 8"):
        SELECTORS[name].build(tokens=np.zeros(8, np.uint8), window=8, batch=2, seed=0)
