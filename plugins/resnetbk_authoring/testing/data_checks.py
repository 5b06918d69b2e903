"""Checks of what comes before a model: corpora, tokenizers, data selectors."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import numpy as np

from resnetbk.kinds import SelectionContext, Text, Windows
from resnetbk_authoring.testing.subject import Subject, reloaded, require, same

WINDOW, BATCH, STEPS = 16, 4, 40
SENTENCE = "The quick brown fox jumps over the lazy dog, größer als 雪 and 🦊.\n".encode()
SAMPLE = 20 * SENTENCE


# ---------------------------------------------------------------- corpora


def valid_text(subject: Subject) -> None:
    """Two parts of UTF-8, neither of them empty, and their sha256."""
    text = subject.component.build()
    for name in ("train", "valid"):
        part = bytes(getattr(text, name))
        require(part, f"{name} is empty")
        part.decode()
    sha256 = hashlib.sha256(text.train)
    sha256.update(text.valid)
    require(sha256.hexdigest() == text.sha256, "sha256 is not that of train followed by valid")


def fitting_labels(subject: Subject) -> None:
    """In a task: a label, or 0, for each byte; one or more in every example; and a name for each group."""
    text = subject.component.build()
    task = text.task
    if task is None:
        return
    for name, length in (("train", task.length), ("valid", task.valid_length)):
        part, labels = getattr(text, name), getattr(task, name)
        require(len(labels) == len(part), f"{name} has {len(part)} bytes and {len(labels)} labels")
        require(length > 0 and len(part) % length == 0, f"{name} does not consist of examples of {length}")
        require((labels >= 0).all() and (labels <= 256).all(), f"{name} has labels that are no byte")
        require((labels.reshape(-1, length) > 0).any(1).all(), f"an example of {name} has no label")
    if task.groups:
        require(len(task.group) == len(text.valid), "the groups are not of each byte of valid")
        require((task.group < len(task.groups)).all(), "a group has no name")


def labelled(subject: Subject) -> None:
    """Its text is a task."""
    require(subject.component.build().task is not None, "the text that it builds has no task")


def reproducible_text(subject: Subject) -> None:
    """Built twice, it gives the same text."""
    first, second = subject.component.build(), subject.component.build()
    require(first.sha256 == second.sha256, "another text at the second time")
    if first.task:
        require(np.array_equal(first.task.train, second.task.train), "other labels at the second time")


# ---------------------------------------------------------------- tokenizers


def round_trip(subject: Subject) -> None:
    """Decoding what it encoded gives the same bytes; tokens are below its vocabulary."""
    tokenizer = _tokenizer(subject)
    for text in (SAMPLE, SAMPLE[:1], SAMPLE[7:40], "ß🦊".encode(), b""):
        for given in (text, memoryview(text)):
            tokens = tokenizer.encode(given)
            require(tokens.ndim == 1, f"tokens of {tokens.ndim} dimensions")
            require(tokens.dtype.kind == "u", f"tokens are {tokens.dtype}, no unsigned integers")
            require((tokens < tokenizer.vocabulary).all(), "a token beyond the vocabulary")
            require(tokenizer.decode(tokens.tolist()) == text, f"{text[:40]!r} is decoded to other bytes")


def token_by_token(subject: Subject) -> None:
    """Tokens decoded one at a time, in any order, as a model generates them, give the same bytes."""
    tokenizer = _tokenizer(subject)
    tokens = tokenizer.encode(SAMPLE).tolist()
    for written in (tokens, tokens[::-1]):
        alone = b"".join(tokenizer.decode([token]) for token in written)
        whole = tokenizer.decode(written)
        require(alone == whole, f"one at a time {alone[:40]!r}, together {whole[:40]!r}")


def reproducible_tokens(subject: Subject) -> None:
    """Built twice from the same text, it gives the same tokens."""
    first, second = _tokenizer(subject), _tokenizer(subject)
    require(first.state() == second.state(), "another state")
    np.testing.assert_array_equal(first.encode(SAMPLE), second.encode(SAMPLE))


def restored(subject: Subject) -> None:
    """Its state is JSON, and restores it."""
    tokenizer = _tokenizer(subject)
    saved = json.loads(json.dumps(tokenizer.state()))
    again = subject.component.restore(state=saved)
    require(again.vocabulary == tokenizer.vocabulary, "another vocabulary")
    np.testing.assert_array_equal(again.encode(SAMPLE), tokenizer.encode(SAMPLE))
    require(again.state() == saved, "another state")


def tokens_are_bytes(subject: Subject) -> None:
    """Token t stands for the byte t."""
    tokenizer = _tokenizer(subject)
    np.testing.assert_array_equal(tokenizer.encode(SAMPLE), np.frombuffer(SAMPLE, np.uint8))


def _tokenizer(subject: Subject) -> Any:
    cut = len(SAMPLE) - 3 * len(SENTENCE)
    train = memoryview(SAMPLE)[:cut]  # as a large text would be, on disk
    return subject.component.build(text=Text(train, SAMPLE[cut:], hashlib.sha256(SAMPLE).hexdigest()))


# ---------------------------------------------------------------- data selectors


def windows_in_range(subject: Subject) -> None:
    """Windows lie in the text, are as many as the spec's batch or more, and no longer than its window."""
    selector = _selector(subject)
    for starts, length in _play(selector, range(STEPS)):
        require(starts.ndim == 1 and starts.dtype == np.int64, f"starts are {starts.dtype}, {starts.ndim}-D")
        require(len(starts) >= BATCH, f"{len(starts)} windows where the spec says {BATCH}")
        require(1 <= length <= WINDOW, f"windows of {length} tokens where the spec says {WINDOW}")
        require(starts.min() >= 0 and starts.max() <= len(_tokens()) - length - 1, "a window beyond the text")


def reproducible_windows(subject: Subject) -> None:
    """The same seed gives the same windows."""
    first, second = (_play(_selector(subject), range(STEPS)) for _ in range(2))
    same(second, first, "windows with the same seed", 0.0)


def resumed(subject: Subject) -> None:
    """Restored from the state of any step, it selects what the uninterrupted selector does."""
    for stop in (0, 1, 7, STEPS - 1):
        whole, again = _selector(subject), _selector(subject)
        _play(whole, range(stop))
        saved = reloaded(whole.state())
        rest = _play(whole, range(stop, STEPS))
        again.restore(saved)
        same(_play(again, range(stop, STEPS)), rest, f"windows, resumed at step {stop}", 0.0)


def text_unchanged(subject: Subject) -> None:
    """It does not write to the text, which may be mapped from a file: read-only."""
    tokens = np.frombuffer(SAMPLE, np.uint8)
    _play(subject.component.build(tokens=tokens, window=WINDOW, batch=BATCH, seed=1), range(4))


def _tokens() -> Any:
    return np.frombuffer(SAMPLE, np.uint8).copy()


def _selector(subject: Subject) -> Any:
    return subject.component.build(tokens=_tokens(), window=WINDOW, batch=BATCH, seed=1)


def _play(selector: Any, steps: range) -> list[tuple[Any, int]]:
    """Starts and length of the windows that it selects, told losses that are a function of the windows."""
    chosen = []
    for step in steps:
        context = SelectionContext(
            step=step, progress=step / STEPS, score=lambda windows, measure="loss": _losses(windows)
        )
        windows = selector.select(context)
        selector.observe(context, windows, _losses(windows))
        chosen.append((copy.deepcopy(windows.starts), windows.length))
    return chosen


def _losses(windows: Windows) -> Any:
    return (2.0 + np.sin(windows.starts)).astype(np.float32)
