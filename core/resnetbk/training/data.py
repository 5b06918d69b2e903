"""A corpus as tokens: batches to train on, and the held-out part to measure by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
import numpy as np
import torch

from resnetbk.cache import cached_file
from resnetbk.errors import UserError
from resnetbk.kinds import Batch, Text, Tokenizer, Windows
from resnetbk.lock.source import source_sha256
from resnetbk.model.assemble import build
from resnetbk.spec.spec import Data as DataSpec
from resnetbk.spec.spec import Part
from resnetbk.task import Task
from resnetbk.terminal import steps_told
from resnetbk.texts import PIECE, pieces

if TYPE_CHECKING:
    from resnetbk.kinds import Array


UNLABELLED = -100
"""The target where a task asks nothing: torch's cross_entropy ignores it."""


@attrs.frozen(eq=False)
class Data:
    """text and its tokens: train (T,), valid (U,), of the tokenizer's integer type; and where the parts of
    valid end, (K,) integers, of a text without parts its end.

    Of a large text they stay on disk: windows are read from there as they are chosen. They may be read-only:
    `torch.tensor(data.valid)` copies.
    """

    text: Text
    tokenizer: Tokenizer
    train: Array
    valid: Array
    part_ends: Array

    @classmethod
    def load(cls, spec: DataSpec, tokenizer: Tokenizer | None = None) -> Data:
        """Reads the corpus and encodes it, with the spec's tokenizer unless one is given. See `of`."""
        return cls.of(build("data.corpus", spec.corpus, Text), spec, tokenizer)

    @classmethod
    def of(cls, text: Text, spec: DataSpec, tokenizer: Tokenizer | None = None) -> Data:
        """The spec's corpus, read already, in tokens.

        Raises UserError when a part is too short to predict anything.
        """
        tokenizer = tokenizer or build("data.tokenizer", spec.tokenizer, Tokenizer, text=text)
        parts = text.tokens or [_tokens(text, p, tokenizer, spec.tokenizer) for p in ("train", "valid")]
        train, valid = parts
        ends = _in_tokens([*text.parts.values()], valid, tokenizer) if text.parts else np.array([len(valid)])
        data = cls(text, tokenizer, train, valid, ends)
        if text.task:
            _check_task(spec, text.task)
        if text.tokens and (most := int(max(part.max() for part in parts))) >= tokenizer.vocabulary:
            raise UserError(
                f"data.tokenizer: {spec.tokenizer.name!r} has {tokenizer.vocabulary} tokens, and "
                f"{spec.corpus.name!r} holds token {most}: choose one of {most + 1} tokens or more"
            )
        if len(data.valid) < 2:
            raise UserError(
                f"data.corpus: {spec.corpus.name!r} holds out too little text to validate on; "
                "use a longer text, or hold out more of it"
            )
        return data

    def beginning(self, tokens: int, window: int) -> Data:
        """With only the first held-out targets, at most `tokens` but one window or example; 0 takes all. Of
        each part of a text the first, in proportion to its length."""
        size, whole = self.held_out_window(window), np.diff(self.part_ends, prepend=0)
        counts = np.minimum(np.maximum(whole * tokens // len(self.valid) // size, 1) * size, whole)
        counts[-1] += 0 if self.text.task else 1
        if not tokens or counts.sum() >= len(self.valid):
            return self
        firsts = zip(self.part_ends - whole, counts, strict=True)
        valid = np.concatenate([self.valid[first : first + count] for first, count in firsts])
        text = self.text if self.text.tokens else attrs.evolve(self.text, valid=self._decoded(valid))
        return attrs.evolve(self, text=text, valid=valid, part_ends=counts.cumsum())

    def batch(self, windows: Windows, device: torch.device) -> Batch:
        """The windows' tokens from the training part; in a task each is an example or its beginning, and as
        long as there are enough, another one. Raises UserError for windows that do not lie in it."""
        starts, last = windows.starts, len(self.train) - windows.length - 1
        if starts.ndim != 1 or not len(starts) or starts.dtype.kind not in "iu" or windows.length < 1:
            raise UserError("data.selector: must choose one or more windows by integer starts")
        if starts.min() < 0 or starts.max() > last:
            raise UserError(
                f"data.selector: chose a window at {starts.min() if starts.min() < 0 else starts.max()}; "
                f"windows of {windows.length} tokens start at 0 to {last} here"
            )
        if task := self.text.task:
            starts = starts // windows.length % (len(self.train) // task.length) * task.length
            index = starts[:, None] + np.arange(windows.length)
            return _labelled(self.train[index], task.train[index], device)
        index = starts[:, None] + np.arange(windows.length + 1)
        return _batch(self.train[index], device)

    def feed(self, windows: Windows, model: torch.nn.Module, device: torch.device) -> None:
        """Gives a step's windows to modules that collect what training reads, by their `learn_tokens`: once,
        whole, and after all passes, however many of these and of processes share the step."""
        collectors: list[Any] = [module for module in model.modules() if hasattr(module, "learn_tokens")]
        for collector in collectors:
            collector.learn_tokens(self.batch(windows, device).inputs)

    def to_choose_from(self, spec: DataSpec) -> dict[str, Any]:
        """What the spec's selector is built from: tokens, window and, if it takes that, (T,) the group of the
        window at each token. Raises UserError where there are no groups."""
        given = {"tokens": self.train, "window": spec.window}
        if "groups" not in signature(spec.selector.component.build).parameters:
            return given
        if self.text.stretches is not None:
            counts = np.diff(_in_tokens(self.text.stretches[:, 0], self.train, self.tokenizer), prepend=0)
            return given | {"groups": np.repeat(self.text.stretches[:, 1].astype(np.uint16), counts)}
        if self.text.task is None or (groups := self.text.task.example_group) is None:
            raise UserError(
                f"data.selector: {spec.selector.name!r} chooses among groups, which {spec.corpus.name!r} has "
                'not; take several corpora, a task whose examples have groups, or selector = "shuffle"'
            )
        return given | {"groups": np.resize(np.repeat(groups, spec.window), len(self.train))}

    def held_out(self, window: int, batch: int, device: torch.device) -> Iterator[Batch]:
        """The held-out part, as in `in_windows`; of a task whole examples, whatever the window."""
        task = self.text.task
        if not task:
            yield from in_windows(self.valid, window, batch, device)
            return
        shape = len(self.valid) // task.valid_length, task.valid_length
        tokens, labels = self.valid.reshape(shape), task.valid[: len(self.valid)].reshape(shape)
        for first in range(0, len(tokens), batch):
            yield _labelled(tokens[first : first + batch], labels[first : first + batch], device)

    def held_out_window(self, window: int) -> int:
        """Tokens in a window of `held_out`."""
        return self.text.task.valid_length if self.text.task else window

    @cached_property
    def held_out_bytes(self) -> int:
        """Bytes of UTF-8 that the held-out targets stand for: all but the first token's."""
        if self.text.tokens:
            return len(self._decoded(self.valid[1:]))
        return len(self.text.valid) - len(self.tokenizer.decode(self.valid[:1].tolist()))

    def _decoded(self, tokens: Array) -> bytes:
        parts = (tokens[i : i + PIECE].tolist() for i in range(0, len(tokens), PIECE))
        return b"".join(map(self.tokenizer.decode, parts))


def _tokens(text: Text, which: str, tokenizer: Tokenizer, chosen: Part) -> Array:
    """Part `which` of a text in tokens: of a large text on disk, unless the tokens are the text itself. Those
    of more than a piece are encoded once for all processes and runs."""
    part: bytes | memoryview = getattr(text, which)
    small = isinstance(part, bytes) and len(part) <= PIECE
    if small or "byte-level" in chosen.entry.provides:
        return tokenizer.encode(part)
    dtype = np.min_scalar_type(tokenizer.vocabulary - 1)

    def write(file: BinaryIO) -> None:
        count = -(-len(part) // PIECE)
        for piece in steps_told(f"encoding {len(part) >> 20:,} MiB", pieces(part), count):
            file.write(tokenizer.encode(piece).astype(dtype, copy=False).tobytes())

    source = source_sha256(type(chosen.component))
    depends = [text.sha256, which, len(part), PIECE, source, tokenizer.state()]
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
    path = cached_file(f"tokens/{key}.{dtype}", write)
    if isinstance(part, bytes):
        return np.fromfile(path, dtype)
    return np.memmap(path, dtype, "r").view(np.ndarray)


def document_tokens(spec: DataSpec, tokenizer: Tokenizer) -> torch.Tensor | None:
    """(V,) bool: with which tokens a document begins, those that hold the separator of the corpus; None where
    documents are context of others. Raises UserError for a separator that is not a single token."""
    if spec.documents == "cross":
        return None
    separator = spec.corpus.component.separator
    if len(tokenizer.encode(separator.encode())) != 1:
        raise UserError(
            f"data.corpus: separator = {json.dumps(separator)} is not one token of {spec.tokenizer.name!r}, "
            'by which data.documents = "pack" finds documents; give one that is, such as "\\u0000"'
        )
    pieces_of = (tokenizer.decode([token]) for token in range(tokenizer.vocabulary))
    return torch.tensor([separator.encode() in piece for piece in pieces_of])


def _in_tokens(ends: Sequence[int] | Array, tokens: Array, tokenizer: Tokenizer) -> Array:
    """Where stretches of a text end, in tokens instead of bytes. A token is of the one that it begins in."""
    counts = enumerate(np.bincount(tokens).tolist())
    sizes = np.array([len(tokenizer.decode([token])) if n else 0 for token, n in counts], np.uint16)
    places = np.searchsorted(sizes[tokens].cumsum(), ends[:-1]) + 1
    return np.append(np.minimum(places, len(tokens)), len(tokens))


def in_windows(tokens: Array, window: int, batch: int, device: torch.device) -> Iterator[Batch]:
    """All of (T,) tokens once, in order, in windows that do not overlap; the last may be shorter. The first
    token is no target."""
    targets = len(tokens) - 1
    whole = targets // window
    for first in range(0, whole, batch):
        starts = np.arange(first, min(first + batch, whole)) * window
        yield _batch(tokens[starts[:, None] + np.arange(window + 1)], device)
    if targets % window:
        yield _batch(tokens[None, whole * window :], device)


def _batch(tokens: Array, device: torch.device) -> Batch:
    tensor = _on(device, tokens)
    return Batch(tensor[:, :-1], tensor[:, 1:])


def _labelled(tokens: Array, labels: Array, device: torch.device) -> Batch:
    targets = np.where(labels > 0, labels.astype(np.int64) - 1, UNLABELLED)
    both = _on(device, np.stack([tokens, targets]))
    return Batch(both[0], both[1])


def _on(device: torch.device, numbers: Array) -> torch.Tensor:
    tensor = torch.from_numpy(numbers.astype(np.int64))
    if device.type == "cuda":  # pinned: nobody waits for the copy
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _check_task(spec: DataSpec, task: Task) -> None:
    """Raises UserError, a line for each key, for what its labels do not fit."""
    wrong = []
    if "byte-level" not in spec.tokenizer.entry.provides:
        wrong.append(f"data.tokenizer: {spec.corpus.name!r} labels bytes, so its tokens must be; use bytes")
    if spec.window > task.length:
        wrong.append(
            f"data.window: {spec.window}, but an example of {spec.corpus.name!r} has {task.length} tokens; "
            f"give window = {task.length}"
        )
    if wrong:
        raise UserError(*wrong)
