"""Labels of tasks by slow readings of each example's own tokens, and what examples are drawn from."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from resnetbk_plugins.corpus.associative_recall import AssociativeRecall
from resnetbk_plugins.corpus.examples import without_replacement
from resnetbk_plugins.corpus.facts import Facts
from resnetbk_plugins.corpus.needles import Needles
from resnetbk_plugins.corpus.pointer_chase import PointerChase
from resnetbk_plugins.corpus.zipf_skills import ZipfSkills


def examples(task: Any) -> list[tuple[list[int], dict[int, int], dict[int, str]]]:
    """Of both parts: tokens, answers by place and, of held-out ones, groups by place."""
    text = task.build()
    read = []
    for part, labels, length in (
        (text.train, text.task.train, text.task.length),
        (text.valid, text.task.valid, text.task.valid_length),
    ):
        for start in range(0, len(part), length):
            answers = {i: int(labels[start + i]) - 1 for i in range(length) if labels[start + i]}
            groups = {}
            if part is text.valid and text.task.group is not None:
                groups = {i: text.task.groups[text.task.group[start + i]] for i in answers}
            read.append((list(part[start : start + length]), answers, groups))
    return read


def test_recall_answers_what_stood_behind_the_key() -> None:
    gaps: Counter[int] = Counter()
    for tokens, answers, _ in examples(AssociativeRecall(pairs=5, length=40, examples=300, held_out=20)):
        known = dict(zip(tokens[0:10:2], tokens[1:10:2], strict=True))
        assert len(known) == len(set(known.values())) == 5
        assert all(1 <= key < 64 <= value < 128 for key, value in known.items())
        assert {i: known[tokens[i]] for i in range(10, 40) if tokens[i]} == answers
        assert sorted(tokens[i] for i in answers) == sorted(known)
        gaps.update(answers)
    assert gaps[10] > 2 * gaps[38] > 0  # near places are likelier
    assert not any(gaps[place] for place in range(11, 40, 2))


def test_a_pointer_is_followed_one_hop_at_a_time() -> None:
    task = PointerChase(hops=3, pairs=5, names=9, queries=4, examples=60, held_out=20)
    hops_seen = set()
    for tokens, answers, groups in examples(task):
        assert tokens[0] == 12
        follows = dict(zip(tokens[1:11:2], tokens[2:11:2], strict=True))
        assert set(follows) == set(follows.values()) <= set(range(9))
        at, seen = tokens[1], []
        while at not in seen:
            seen.append(at)
            at = follows[at]
        assert len(seen) == 5  # one cycle
        assert sorted(answers) == [12, 15, 18, 21]
        assert len({tokens[i] for i in answers}) == 4  # no answer can be copied from another query
        for i, answer in answers.items():
            hops, at = tokens[i - 1] - 9 + 1, tokens[i]
            for _ in range(hops):
                at = follows[at]
            assert answer == at == tokens[i + 1]
            hops_seen.add(hops)
            if groups:
                assert groups[i] == f"hops {hops}"
    assert hops_seen == {1, 2, 3}


def test_needles_are_copied_in_order() -> None:
    for tokens, answers, _ in examples(Needles(length=20, needles=4, noise=5, symbols=7, examples=50)):
        needles = [token for token in tokens[:16] if token >= 5]
        assert len(needles) == 4
        assert max(needles) < 12
        assert tokens[16:] == [12] * 4
        assert answers == dict(zip(range(16, 20), needles, strict=True))


def test_a_skill_is_the_parity_of_three_bits_of_its_own() -> None:
    read = examples(ZipfSkills(skills=4, bits=10, examples=3000, held_out=40))
    for skill in range(4):
        mine = [(t[1:-1], answers[11]) for t, answers, _ in read if t[0] == 3 + skill]
        bits = np.array([bits for bits, _ in mine])
        answers = np.array([answer for _, answer in mine])
        fits = [
            (a, b, c)
            for a in range(10)
            for b in range(a)
            for c in range(b)
            if ((bits[:, a] + bits[:, b] + bits[:, c]) % 2 == answers).all()
        ]
        assert len(fits) == 1
    drawn = Counter(tokens[0] - 3 for tokens, _, _ in read[:3000])
    expected = np.arange(1.0, 5) ** -1.4
    for skill, share in enumerate(expected / expected.sum()):
        assert drawn[skill] / 3000 == pytest.approx(share, abs=0.03)
    assert Counter(groups[11] for _, _, groups in read[3000:]) == {f"skill {i}": 10 for i in range(1, 5)}
    assert all(tokens[-1] == 2 for tokens, _, _ in read)


def test_facts_stay_the_same_and_come_equally_often() -> None:
    read = examples(Facts(facts=40, symbols=8, records=4, examples=30, held_out=10))
    known: dict[tuple[int, ...], int] = {}
    seen: Counter[tuple[int, ...]] = Counter()
    for tokens, answers, _ in read:
        assert sorted(answers) == [2, 6, 10, 14]
        for i, answer in answers.items():
            subject = tuple(tokens[i - 2 : i + 1])
            assert known.setdefault(subject, answer) == answer == tokens[i + 1]
            seen[subject] += 1
    assert len(known) == 40
    assert set(seen.values()) == {4}  # three times to train on, and held out


def test_what_is_drawn_without_replacement_follows_its_chances() -> None:
    chances = np.array([4.0, 2.0, 1.0, 1.0])
    rows = without_replacement(np.random.default_rng(0), chances, 20_000, 2)
    assert (rows[:, 0] != rows[:, 1]).all()
    first = np.bincount(rows[:, 0]) / 20_000
    np.testing.assert_allclose(first, chances / 8, atol=0.015)
    second = np.bincount(rows[rows[:, 0] == 0, 1], minlength=4) / (rows[:, 0] == 0).sum()
    np.testing.assert_allclose(second, [0, 0.5, 0.25, 0.25], atol=0.02)


@pytest.mark.parametrize(
    ("task", "keys", "said"),
    [
        (AssociativeRecall, {"pairs": 17}, "pairs = 17 need length = 68 or more"),
        (AssociativeRecall, {"pairs": 4, "vocabulary": 8}, "pairs = 4 need vocabulary = 10 or more"),
        (PointerChase, {"pairs": 13}, "pairs = 13 need as many names, not 12"),
        (PointerChase, {"names": 250, "hops": 6}, "names [+] hops = 256 must be at most 255"),
        (Needles, {"length": 20}, "needles = 16 need length = 32 or more"),
        (Needles, {"symbols": 250}, "symbols [+] noise = 266 must be at most 255"),
        (ZipfSkills, {"bits": 2}, "chosen = 3 must be at most bits = 2"),
        (Facts, {"symbols": 8}, "facts = 5000 must be at most 512"),
    ],
)
def test_keys_that_cannot_be_are_refused(task: Any, keys: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task(**keys)
