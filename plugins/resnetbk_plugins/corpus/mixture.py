"""Several corpora as one: the training text is drawn from them by shares, and so is the held-out text.
Of tasks it is their examples: see `mixed_tasks`.

The training text is as long as those of all parts together and consists of pieces of them in random order.
Windows that a data selector draws from anywhere in it are thus drawn by shares, and a tokenizer or n-gram
counts see what the model sees. A part that is smaller than its share comes several times, all of it before
any of it again; of a larger one a random selection is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, BinaryIO

import attrs
import numpy as np
from attrs.validators import deep_iterable, ge, gt, min_len

from resnetbk.cache import cached_file
from resnetbk.errors import UserError
from resnetbk.kinds import Text
from resnetbk.model.assemble import build
from resnetbk.spec.spec import Part
from resnetbk.texts import LARGE, mapped, pieces
from resnetbk_plugins.corpus.examples import check_task
from resnetbk_plugins.corpus.mixed_tasks import mixed_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resnetbk.spec import Spec

ALIKE = "parts must all be text, or all tasks"

METHOD = 1  # part of every cache key: texts that were drawn in another way are not used

STRETCH = 1 << 14
"""Bytes of a piece: windows that reach over the end of one are few."""


@attrs.frozen(kw_only=True)
class Mixture:
    """Corpora of text, or tasks, with shares, each with its own keys. The held-out text begins as each part's
    does, as far as all have enough of it for their share: so its loss is the mean by shares. Evaluations give
    that of each part beside it, by the name of its corpus, numbered where it comes again: `text`, `text-2`. A
    window that reaches from one into the next counts for the one in which it begins. Selectors that choose
    among groups choose among the parts.

    An example of a task begins with the number of its part, from 0, and data.window must be 1 + the tokens of
    the longest: others end with zeros. Its own tokens, and labels, are moved behind those of the parts before
    (beyond 255 they go on from 0), so that few mean one thing in one part and another in the next. Held-out
    examples have about as many labels of each part, so that accuracy is its mean over parts, whatever the
    shares. Groups are those of the parts, or the part.

    parts   corpora, such as `[{ use = "packages" }, { use = "text", path = "notes" }]`
    shares  of bytes, in tasks of examples: one for each part, such as `[0.8, 0.2]`, or `[4, 1]`; equal ones
            if left out
    seed    of which pieces are drawn, and of their order
    """

    parts: tuple[Part, ...] = attrs.field(metadata={"kind": "corpus"}, validator=min_len(1))
    shares: list[float] = attrs.field(factory=list, validator=deep_iterable(gt(0.0)))
    seed: int = attrs.field(default=0, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if self.shares and len(self.shares) != len(self.parts):
            raise ValueError(f"shares are {len(self.shares)} numbers for {len(self.parts)} parts: one each")

    def check(self, spec: Spec) -> None:
        tasks = [part for part in self.parts if "labels" in part.entry.provides]
        if tasks and len(tasks) < len(self.parts):
            raise UserError(f"mixture: {tasks[0].name!r} is a task, and {ALIKE}")
        if unknown := [part.name for part in tasks if not hasattr(part.component, "length")]:
            raise UserError(
                f"mixture: {unknown[0]!r} has no `length`, the tokens of an example, as parts need"
            )
        lengths = [part.component.length for part in tasks]
        windows = lengths or [spec.data.window] * len(self.parts)
        for part, window in zip(self.parts, windows, strict=True):
            if own := getattr(part.component, "check", None):
                own(attrs.evolve(spec, data=attrs.evolve(spec.data, window=window)))
        if lengths:
            check_task(spec, 1 + max(lengths))

    def build(self) -> Text:
        """Raises UserError for parts that are tokens or only some of them tasks, and what the parts raise."""
        texts = [build(f"data.corpus.parts[{i}]", part, Text) for i, part in enumerate(self.parts)]
        for part, text in zip(self.parts, texts, strict=True):
            if text.tokens or bool(text.task) != bool(texts[0].task):
                what = "tokens" if text.tokens else "a task" if text.task else "no task"
                raise UserError(f"mixture: {part.name!r} is {what}, and {ALIKE}")
            if text.task and "labels" not in part.entry.provides:  # a mixture, or a task that says nothing
                raise UserError(f"mixture: {part.name!r} does not provide 'labels', as tasks in it must")
        shares = np.array(self.shares or [1.0] * len(texts))
        shares /= shares.sum()
        names = _names([part.name for part in self.parts])
        if texts[0].task:
            return mixed_tasks(names, texts, shares, self.seed)
        (train, stretches), held_out = self._train(texts, shares, names), _valid(texts, shares)
        valid = b"".join(held_out)
        digest = hashlib.sha256(train)
        digest.update(valid)
        ends = accumulate(len(part) for part in held_out)
        parts = dict(zip(names, ends, strict=True))
        return Text(train, valid, digest.hexdigest(), parts=parts, stretches=stretches)

    def _train(
        self, texts: list[Text], shares: np.ndarray, names: tuple[str, ...]
    ) -> tuple[bytes | memoryview, np.ndarray]:
        """The training text, and (S, 2) the end of each stretch of it, and its part."""
        total = sum(len(text.train) for text in texts)
        depends = [METHOD, STRETCH, [(t.sha256, len(t.train)) for t in texts], [*shares], self.seed]
        key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()

        generator = np.random.default_rng(self.seed)
        in_order = np.array(
            [
                (part, start, end)
                for part, (text, share) in enumerate(zip(texts, shares, strict=True))
                for start, end in _stretches(text.train, share * total, generator)
            ]
        )
        drawn = in_order[generator.permutation(len(in_order))]

        def write(file: BinaryIO) -> None:
            for part, start, end in drawn.tolist():
                file.write(texts[part].train[start:end])

        for name, text, share in zip(names, texts, shares, strict=True):
            logging.getLogger("resnetbk").info(
                "mixture: %.3f of %s: its %s bytes %.2f times",
                *(share, name, f"{len(text.train):,}", share * total / len(text.train)),
            )
        path = cached_file(f"texts/mixture-{key}", write)
        part, start, end = drawn.T
        stretches = np.stack([np.cumsum(end - start), part], 1)
        return path.read_bytes() if path.stat().st_size <= LARGE else mapped(path), stretches


def _names(corpora: list[str]) -> tuple[str, ...]:
    """All different: `text`, `text-2`."""
    counts = [corpora[:i].count(name) + 1 for i, name in enumerate(corpora)]
    return tuple(name if n == 1 else f"{name}-{n}" for name, n in zip(corpora, counts, strict=True))


def _stretches(
    text: bytes | memoryview, size: float, generator: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Starts and ends of random pieces, `size` bytes of them to within half a piece; all before one again."""
    ends = accumulate((len(piece) for piece in pieces(text, STRETCH)), initial=0)
    stretches = list(pairwise(ends))
    while True:
        for i in generator.permutation(len(stretches)):
            start, end = stretches[i]
            if size < (end - start) / 2:
                return
            size -= end - start
            yield start, end


def _valid(texts: list[Text], shares: np.ndarray) -> list[bytes]:
    """The beginning of each held-out part, by shares, cut between characters."""
    total = min(len(text.valid) / share for text, share in zip(texts, shares, strict=True))
    begun = (bytes(text.valid[: round(share * total)]) for text, share in zip(texts, shares, strict=True))
    return [part.decode(errors="ignore").encode() for part in begun]
