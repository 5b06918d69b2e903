"""The corpus `mixture` of tasks: whose examples, how many, their labels and groups; and one model of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import resnetbk
from resnetbk.errors import UserError

WORDS = '{ use = "group-words", group = "S3", length = 16, examples = 30, held_out = 5 }'
NEEDLES = '{ use = "needles", length = 20, needles = 2, examples = 60, held_out = 90 }'
CHASE = '{ use = "pointer-chase", pairs = 3, queries = 2, alike = true, examples = 10, held_out = 60 }'
LENGTHS, ASKED = (16, 20, 13), (16, 2, 2)
PLACES = (3, 3 + 6, 9 + 33)  # behind the numbers of parts, six elements, and symbols, noise and `copy`
SPEC = """
name = "tasks"
[data]
corpus = { use = "mixture", parts = [PARTS] SHARES }
window = 21
selector = "bandit"
[model]
width = 8
depth = 1
mixer = "gated-diagonal"
[train]
steps = 3
batch = 4
evaluate = 2
evaluate_tokens = 400
"""


def spec(folder: Path, parts: tuple[str, ...] = (WORDS, NEEDLES, CHASE), shares: str = "") -> Path:
    path = folder / "s.toml"
    path.write_text(SPEC.replace("PARTS", ", ".join(parts)).replace("SHARES", shares))
    return path


def test_examples_are_those_of_the_parts_by_shares(tmp_path: Path) -> None:
    loaded = resnetbk.load(spec(tmp_path, shares=", shares = [2, 1, 1]"))
    mixture = loaded.spec.data.corpus.component
    built, same = mixture.build(), mixture.build()
    assert (built.train, built.valid) == (same.train, same.valid)
    task = built.task
    assert task.length == task.valid_length == 21
    for part, name, sizes in (("train", "train", (50, 25, 25)), ("valid", "valid", (5, 40, 40))):
        tokens = np.frombuffer(getattr(built, part), np.uint8).reshape(-1, 21)
        labels = getattr(task, name).reshape(-1, 21)
        assert np.bincount(tokens[:, 0]).tolist() == list(sizes)
        assert len(set(tokens[:10, 0])) > 1  # in no order
        for number, (corpus, length) in enumerate(zip(mixture.parts, LENGTHS, strict=True)):
            own = corpus.component.build()
            rows = np.frombuffer(getattr(own, part), np.uint8).reshape(-1, length) + np.uint8(PLACES[number])
            answers = getattr(own.task, name).reshape(-1, length)
            answers = answers + (answers > 0) * np.uint16(PLACES[number])
            known = {(row.tobytes(), label.tobytes()) for row, label in zip(rows, answers, strict=True)}
            mine = tokens[:, 0] == number
            drawn = [
                (row[1 : 1 + length].tobytes(), label[1 : 1 + length].tobytes())
                for row, label in zip(tokens[mine], labels[mine], strict=True)
            ]
            assert set(drawn) <= known
            if part == "train":  # a small part comes as a whole before any of it again
                counts = [drawn.count(one) for one in set(drawn)]
                assert len(counts) == min(sizes[number], len(known))
                assert max(counts) - min(counts) <= 1
            assert not tokens[mine, 1 + length :].any()
            assert not labels[mine, 0].any()
            assert not labels[mine, 1 + length :].any()
            assert np.count_nonzero(labels[mine]) == sizes[number] * ASKED[number]


def test_tokens_beyond_the_last_byte_go_on_from_zero(tmp_path: Path) -> None:
    recall = '{ use = "associative-recall", pairs = 2, length = 20, vocabulary = 250, examples = 2000 }'
    mixture = resnetbk.load(spec(tmp_path, (WORDS, recall, recall))).spec.data.corpus.component
    own, built = mixture.parts[1].component.build(), mixture.build()
    begin = 3 + 6 + 250
    tokens = np.frombuffer(built.train, np.uint8).reshape(-1, 21)
    labels = built.task.train.reshape(-1, 21)
    rows, answers = np.frombuffer(own.train, np.uint8).reshape(-1, 20), own.task.train.reshape(-1, 20)
    moved = [(rows.astype(int) + begin) % 256, np.where(answers, (answers - 1 + begin) % 256 + 1, 0)]
    known = {tuple(row) for row in np.concatenate(moved, 1)}
    last = tokens[:, 0] == 2
    mixed = {tuple(row) for row in np.concatenate([tokens[last, 1:], labels[last, 1:]], 1)}
    assert len(mixed) > 1000
    assert mixed <= known


def test_groups_are_those_of_the_parts_or_the_part(tmp_path: Path) -> None:
    task = resnetbk.load(spec(tmp_path)).spec.data.corpus.component.build().task
    chase = ("pointer-chase hops 1", "pointer-chase hops 2")
    words = ("group-words positions 1 to 8", "group-words positions 9 to 16")
    assert task.groups == (*words, "needles", *chase)
    tokens = task.group.reshape(-1, 21)
    asked = task.valid.reshape(-1, 21) > 0
    assert set(tokens[asked].tolist()) == {0, 1, 2, 3, 4}
    assert [np.count_nonzero(tokens[asked] == group) for group in range(3)] == [40, 40, 80]
    assert set(task.example_group.tolist()) == {1, 2, 3, 4}


def test_one_model_learns_them_and_its_accuracy_is_the_mean_over_parts(tmp_path: Path) -> None:
    run = resnetbk.load(spec(tmp_path)).train(tmp_path / "run", device="cpu")
    evaluation = run.evaluate()
    names = run.data().text.task.groups
    assert set(evaluation.groups) == set(names)
    asked, group = (run.data().text.task.valid > 0, run.data().text.task.group)
    counts = [np.count_nonzero(group[asked] == number) for number in range(5)]
    by_group = [evaluation.groups[name] for name in names]
    parts = [np.average(by_group[s], weights=counts[s]) for s in (slice(2), slice(2, 3), slice(3, 5))]
    assert evaluation.accuracy == pytest.approx(np.mean(parts))


def test_a_constant_guess_is_what_a_model_that_guesses_so_is_measured_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its loss, the mean over examples, of which here one has sixteen labels and another two."""
    run = resnetbk.load(spec(tmp_path)).train(tmp_path / "run", device="cpu")
    task = run.data().text.task
    frequencies = np.bincount(task.train, minlength=257)[1:] + 1.0
    logits = torch.from_numpy(np.log(frequencies / frequencies.sum())).float()

    monkeypatch.setattr(run.model, "_logits", lambda rows, asked: logits.expand(*rows.shape[:2], -1))
    evaluation = run.evaluate()
    assert (evaluation.accuracy, evaluation.loss) == pytest.approx(task.constant_guess(), rel=1e-5)


@pytest.mark.parametrize(
    ("parts", "window", "told"),
    [
        ((WORDS, NEEDLES), 20, "has examples of 21 tokens, which need data.window = 21, not 20"),
        (
            (WORDS, '{ use = "python-docs" }'),
            17,
            "'group-words' is a task, and parts must all be text, or all",
        ),
    ],
)
def test_what_cannot_be_mixed_is_refused(tmp_path: Path, parts, window: int, told: str) -> None:
    path = spec(tmp_path, parts)
    path.write_text(path.read_text().replace("window = 21", f"window = {window}"))
    with pytest.raises(UserError) as caught:
        resnetbk.load(path).train(tmp_path / "run", device="cpu")
    assert told in str(caught.value)
