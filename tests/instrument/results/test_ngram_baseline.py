"""The n-gram baseline: against a model written with dictionaries, as a distribution, and its cache."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetbk.errors import UserError
from resnetbk_instrument.results.ngram_baseline import (
    cache_folder,
    kneser_ney,
    nats_per_token,
    ngram_baseline,
    probabilities,
)


class Oracle:
    """The same model from its definition: dictionaries, one probability at a time."""

    def __init__(self, train: list[int], vocabulary: int, order: int) -> None:
        self.vocabulary, self.order = vocabulary, order
        self.tables: dict[int, Counter[tuple[int, ...]]] = {}
        for n in range(1, order + 1):
            grams = [tuple(train[i : i + n]) for i in range(len(train) - n + 1)]
            longer = {tuple(train[i : i + n + 1]) for i in range(len(train) - n)}
            self.tables[n] = Counter(grams) if n == order else Counter(gram[1:] for gram in longer)

    def discount(self, n: int, count: int) -> float:
        if count == 0:
            return 0.0
        having = Counter(self.tables[n].values())
        k = min(count, 3)
        if not (having[1] and having[2] and having[k] and having[k + 1]):
            return 0.75
        y = having[1] / (having[1] + 2 * having[2])
        return min(max(k - (k + 1) * y * having[k + 1] / having[k], 0.1), float(k))

    def probability(self, context: tuple[int, ...], token: int, n: int) -> float:
        if n == 0:
            return 1 / self.vocabulary
        context = context[max(len(context) - n + 1, 0) :]
        lower = self.probability(context, token, n - 1)
        row = {gram[-1]: c for gram, c in self.tables[n].items() if gram[:-1] == context}
        if len(context) < n - 1 or not row:
            return lower
        spread = sum(self.discount(n, c) for c in row.values())
        own = row.get(token, 0)
        return (own - self.discount(n, own) + spread * lower) / sum(row.values())


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[int], int, int]:
    vocabulary = draw(st.integers(1, 4))
    token = st.integers(0, vocabulary - 1)
    train = draw(st.lists(token, max_size=40))
    valid = draw(st.lists(token, min_size=2, max_size=12))
    return train, valid, vocabulary, draw(st.integers(1, 5))


@given(cases())
@settings(deadline=None)
def test_agrees_with_dictionaries(case: tuple[list[int], list[int], int, int]) -> None:
    train, valid, vocabulary, order = case
    oracle = Oracle(train, vocabulary, order)
    expected = [oracle.probability(tuple(valid[:i]), valid[i], order) for i in range(1, len(valid))]
    result = probabilities(np.array(train), np.array(valid), vocabulary, (order,))[order]
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_agrees_with_a_sum_by_hand() -> None:
    # Counts 2 and 1: Y = 1/3, D1 = 1/3, D2 = 0.75 for want of a count of 3; spread 13/12 over two tokens.
    result = probabilities(np.array([0, 0, 1]), np.array([0, 0, 1]), 2, (1,))[1]
    np.testing.assert_allclose(result, [(1.25 + 13 / 24) / 3, (2 / 3 + 13 / 24) / 3])


def test_probabilities_sum_to_one_after_any_context() -> None:
    random = np.random.default_rng(0)
    vocabulary, orders = 7, (1, 2, 3, 4, 6)
    steps = random.choice(vocabulary, size=3000, p=[0.5, 0.2, 0.1, 0.1, 0.06, 0.04, 0.0])
    train = np.where(random.random(3000) < 0.5, steps, np.roll(steps, 3))
    for trial in range(40):
        length = int(random.integers(1, 9))
        begin = int(random.integers(0, 2900))
        # Every other context stands in the training tokens; the rest are mostly new to the model.
        context = train[begin : begin + length] if trial % 2 else random.integers(0, vocabulary, length)
        totals = dict.fromkeys(orders, 0.0)
        for token in range(vocabulary):
            predicted = probabilities(train, np.append(context, token), vocabulary, orders)
            for order in orders:
                assert predicted[order][-1] > 0
                totals[order] += predicted[order][-1]
        np.testing.assert_allclose(list(totals.values()), 1.0, rtol=1e-12)


def test_the_order_bounds_how_far_back_the_model_looks() -> None:
    random = np.random.default_rng(1)
    train = np.repeat(random.integers(0, 3, 800), 2)
    valid = random.integers(0, 3, 30)
    other = np.concatenate([(valid[:10] + 1) % 3, valid[10:]])
    for order, result in probabilities(train, valid, 3, (1, 2, 4)).items():
        changed = probabilities(train, other, 3, (order,))[order]
        # Prediction i is of token i + 1; order - 1 tokens back, token 9 was the last to change.
        np.testing.assert_array_equal(result[8 + order :], changed[8 + order :])
        if order > 1:
            assert result[7 + order] != changed[7 + order]


def test_what_repeats_costs_little_and_noise_costs_the_uniform() -> None:
    pattern = np.tile(np.arange(5), 400)
    assert kneser_ney(pattern, pattern[:50], 5, 3) < 0.02
    random = np.random.default_rng(2)
    noise = random.integers(0, 16, 60_000)
    assert kneser_ney(noise[:50_000], noise[50_000:], 16, 2) == pytest.approx(np.log(16), abs=0.01)


def test_orders_counted_together_are_the_orders_counted_apart() -> None:
    random = np.random.default_rng(3)
    tokens = np.minimum(random.geometric(0.3, 4000), 12).astype(np.uint8)
    together = nats_per_token(tokens[:3500], tokens[3500:], 13, (7, 1, 2))
    assert list(together) == [7, 1, 2]
    for order, nats in together.items():
        assert kneser_ney(tokens[:3500], tokens[3500:], 13, order) == nats


def test_a_large_vocabulary_does_not_overflow() -> None:
    vocabulary = 3_000_000
    tokens = np.tile(np.array([0, 2_999_999, 1_499_999, 2_999_998], dtype=np.uint32), 50)
    assert kneser_ney(tokens, tokens[:40], vocabulary, 7) < 0.5


@pytest.mark.parametrize("train", [[], [1], [1, 0, 1]])
@pytest.mark.parametrize("valid", [[0, 1], [1, 1, 1]])
def test_texts_shorter_than_the_order_work(train: list[int], valid: list[int]) -> None:
    result = nats_per_token(np.array(train, dtype=np.uint8), np.array(valid, dtype=np.uint8), 2)
    assert all(0 < nats < 2 for nats in result.values())
    if not train:
        assert result[7] == pytest.approx(np.log(2))


def test_what_cannot_be_scored_is_refused() -> None:
    two = np.array([0, 1])
    with pytest.raises(UserError, match="has 1 token"):
        nats_per_token(two, two[:1], 2)
    with pytest.raises(ValueError, match=r"in \[0, 2\)"):
        nats_per_token(two, np.array([0, 2]), 2)
    with pytest.raises(ValueError, match=r"in \[0, 2\)"):
        nats_per_token(np.array([-1, 0]), two, 2)
    with pytest.raises(ValueError, match="orders"):
        nats_per_token(two, two, 2, (0,))


# ---------------------------------------------------------------- the cache

TRAIN = np.array([0, 1, 2] * 30, dtype=np.uint8)
VALID = np.array([0, 1, 2, 2, 1], dtype=np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_result_is_remembered_with_what_it_cost(cache: Path) -> None:
    first = ngram_baseline(TRAIN, VALID, 3)
    again = ngram_baseline(TRAIN, VALID, 3)
    assert not first.cached
    assert again.cached
    assert first.nats == again.nats == nats_per_token(TRAIN, VALID, 3)
    assert again.counted_seconds == first.counted_seconds > 0
    assert [path.suffix for path in (cache / "ngram-baseline").iterdir()] == [".json"]


def test_a_text_that_may_not_fit_into_memory_is_not_counted(cache: Path, monkeypatch) -> None:
    monkeypatch.setattr("resnetbk_instrument.results.ngram_baseline.LARGEST", len(TRAIN) + len(VALID))
    assert ngram_baseline(TRAIN, VALID, 3).nats
    monkeypatch.setattr("resnetbk_instrument.results.ngram_baseline.LARGEST", len(TRAIN) + len(VALID) - 1)
    assert ngram_baseline(TRAIN, VALID, 3).nats == {}


def test_whatever_the_result_depends_on_is_in_the_key(cache: Path) -> None:
    ngram_baseline(TRAIN, VALID, 3)
    assert not ngram_baseline(TRAIN[1:], VALID, 3).cached
    assert not ngram_baseline(TRAIN, VALID[1:], 3).cached
    assert not ngram_baseline(TRAIN, VALID, 4).cached
    assert not ngram_baseline(TRAIN, VALID, 3, (1, 2)).cached
    joined = np.concatenate([TRAIN, VALID])
    assert not ngram_baseline(joined[:-4], joined[-4:], 3).cached


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff", b"[1]", b"[" * 100_000, b'{"nats": {"1": 1.0}, "seconds": 1.0}',
     b'{"nats": {"1": NaN, "2": 1.0, "7": 1.0}, "seconds": 1.0}',
     b'{"nats": {"1": "x", "2": 1.0, "7": 1.0}, "seconds": 1.0}'],
)  # fmt: skip
def test_a_damaged_entry_is_counted_again(cache: Path, damage: bytes) -> None:
    first = ngram_baseline(TRAIN, VALID, 3)
    (entry,) = (cache / "ngram-baseline").iterdir()
    entry.write_bytes(damage)
    again = ngram_baseline(TRAIN, VALID, 3)
    assert not again.cached
    assert again.nats == first.nats
    assert set(json.loads(entry.read_bytes())["nats"]) == {"1", "2", "7"}


def test_a_cache_that_cannot_be_used_never_breaks_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    for place in (str(occupied), "~no-such-user-at-all/cache"):
        monkeypatch.setenv("RESNETBK_CACHE", place)
        assert ngram_baseline(TRAIN, VALID, 3).nats == nats_per_token(TRAIN, VALID, 3)
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path))
    ngram_baseline(TRAIN, VALID, 3)
    (entry,) = (tmp_path / "ngram-baseline").iterdir()
    entry.unlink()
    entry.mkdir()  # neither readable nor replaceable
    assert not ngram_baseline(TRAIN, VALID, 3).cached
    assert list((tmp_path / "ngram-baseline").iterdir()) == [entry]


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RESNETBK_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("RESNETBK_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "resnetbk"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "resnetbk"
