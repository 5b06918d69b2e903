from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetbk.errors import UserError
from resnetbk.kinds import SelectionContext, Windows
from resnetbk_plugins.data_selector.shuffle import Shuffle, ShuffleSelector


def no_score(windows: Windows) -> np.ndarray:
    raise AssertionError("shuffle asks for no scores")


def context(step: int) -> SelectionContext:
    return SelectionContext(step=step, progress=0.0, score=no_score)


def selector(total: int, window: int, batch: int, seed: int = 0) -> ShuffleSelector:
    return Shuffle().build(tokens=np.zeros(total, np.uint8), window=window, batch=batch, seed=seed)


def starts(chosen: ShuffleSelector, steps: int) -> np.ndarray:
    return np.concatenate([chosen.select(context(step)).starts for step in range(steps)])


sizes = st.tuples(st.integers(2, 400), st.integers(1, 40), st.integers(1, 30)).filter(lambda s: s[0] > s[1])


@given(sizes=sizes, seed=st.integers(0, 2**32), epochs=st.integers(1, 4))
def test_every_epoch_visits_each_of_its_windows_exactly_once(
    sizes: tuple[int, int, int], seed: int, epochs: int
) -> None:
    total, window, batch = sizes
    chosen = selector(total, window, batch, seed)
    actual = starts(chosen, -(-epochs * chosen.count // batch))[: epochs * chosen.count]
    for epoch in actual.reshape(epochs, chosen.count):
        laid = np.sort(epoch)
        assert (np.diff(laid) == window).all()
        assert laid[0] >= 0
        assert laid[-1] + window <= total - 1  # the last target is a token of the corpus


@given(sizes=sizes)
def test_an_epoch_leaves_out_less_than_two_windows(sizes: tuple[int, int, int]) -> None:
    total, window, batch = sizes
    assert total - 1 - selector(total, window, batch).count * window <= 2 * window - 2


@given(sizes=sizes, seed=st.integers(0, 100), first=st.integers(0, 200))
def test_any_step_comes_out_the_same_from_a_fresh_selector(
    sizes: tuple[int, int, int], seed: int, first: int
) -> None:
    used, fresh = selector(*sizes, seed), selector(*sizes, seed)
    for step in range(0, first, 7):
        used.select(context(step))
    fresh.restore(used.state())
    assert used.state() == {}
    np.testing.assert_array_equal(used.select(context(first)).starts, fresh.select(context(first)).starts)


def test_every_token_is_learned_from_about_equally_often() -> None:
    total, window = 203, 10
    chosen = selector(total, window, batch=selector(total, window, 1).count)
    epochs = 2000
    seen = np.zeros(total)
    for step in range(epochs):
        for start in chosen.select(context(step)).starts:
            seen[start : start + window] += 1
    slack = chosen.slack
    assert (seen[slack : total - 1 - slack] == epochs).all()
    assert (seen[: total - 1] > 0).all()
    cuts = np.array([chosen.select(context(step)).starts.min() for step in range(epochs)])
    counts = np.bincount(cuts, minlength=slack + 1)
    expected = epochs / (slack + 1)
    assert ((counts - expected) ** 2 / expected).sum() < 2.5 * (slack + 1)  # chi-squared of a uniform offset


def test_epochs_and_seeds_differ() -> None:
    count = selector(1000, 5, 1).count
    first = starts(selector(1000, 5, count, seed=1), 2).reshape(2, count)
    other = starts(selector(1000, 5, count, seed=2), 1)
    assert not (first[0] == first[1]).all()
    assert not (first[0] == other).all()
    assert len({int(s.min()) for s in starts(selector(1000, 5, count), 8).reshape(8, count)}) > 1


def test_windows_say_their_length_and_come_as_int64() -> None:
    windows = selector(100, 9, 4).select(context(3))
    assert windows.length == 9
    assert windows.starts.dtype == np.int64
    assert windows.starts.shape == (4,)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the permutations that are drawn."""
    calls: list[int] = []
    real: Callable[..., object] = np.random.Philox

    def philox(*arguments: object) -> object:
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(np.random, "Philox", philox)
    return calls


def test_an_epoch_is_drawn_once_and_resuming_draws_one(drawn: list[int]) -> None:
    chosen = selector(1000, 5, 10)
    per_epoch = chosen.count // 10
    for step in range(per_epoch):
        chosen.select(context(step))
    assert len(drawn) == 1
    drawn.clear()
    selector(1000, 5, 1).select(context(10**6))
    assert len(drawn) == 1


@pytest.mark.parametrize("total", [0, 1, 8])
def test_a_corpus_shorter_than_a_window_is_the_users_mistake_in_one_line(total: int) -> None:
    with pytest.raises(UserError, match=f"at least 9 tokens; this one has {total}") as caught:
        selector(total, 8, 2)
    assert "\n" not in str(caught.value)


def test_the_smallest_corpus_has_one_window() -> None:
    assert starts(selector(9, 8, 3), 2).tolist() == [0] * 6
