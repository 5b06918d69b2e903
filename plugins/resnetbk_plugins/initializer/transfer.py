"""Copies weights into a model by name and shape, and its vocabulary by the bytes of each token."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from resnetbk.errors import StorageError
from resnetbk.kinds import Tokenizer
from resnetbk_plugins.initializer.parent import ParentRun

NAMED = 4
"""Number of tensors that a line names; it counts the others."""

PART = {"embedding": "embedding", "head": "head"}
"""Part by the first component of a tensor's name; all others, the final norm too, belong to the trunk."""


def transfer(
    model: Any, tokenizer: Tokenizer, parent: ParentRun, weights: Mapping[str, Tensor], parts: Collection[str]
) -> list[str]:
    """Copies what fits; returns lines that say what did, what did not, and why.

    weights  to be copied, by the names of `model`; their vocabulary is the parent run's
    parts    of "embedding", "trunk" and "head"

    Token tables, and the head, take the rows of the tokens that both vocabularies contain, by their bytes;
    other rows stay as they were built. All other weights of the embedding depend on token numbers (hashed
    n-grams) or on lengths in tokens (positions), so they are copied only if all tokens are the same.

    Raises StorageError, with nothing copied, when nothing fits.
    """
    own: dict[str, Tensor] = model.state_dict()
    wanted = [name for name in own if PART.get(name.partition(".")[0], "trunk") in parts]
    pairs = shared_tokens(tokenizer, parent.tokenizer)
    tables = _tables(model, own)
    report = _Report()
    for name in wanted:
        if name not in weights:
            report.new.append(name)
        elif name in tables and not pairs.same:
            report.match(name, own[name], pairs.rows(own[name], weights[name]))
        elif name.startswith("embedding.") and name not in tables and not pairs.same:
            report.tokens.append(name)
        else:
            report.match(name, own[name], weights[name])
    if not report.values:
        raise StorageError(f"train.start: {parent.path}: nothing in it fits this model")
    with torch.no_grad():
        for name, value in report.values.items():
            own[name].copy_(value)
    lines = report.lines(own)
    if not pairs.same and any(name in tables for name in report.values):
        lines.append(
            f"{pairs.count} of {pairs.total} tokens are in its vocabulary; the rows of others start fresh"
        )
    excluded = len(own) - len(wanted)
    if excluded:
        lines.append(f"not loaded, outside of {', '.join(parts)}: {excluded} tensors")
    unused = [name for name in weights if name not in own]
    if unused:
        lines.append(f"not used, since not in this model: {_named(unused)}")
    return lines


@attrs.frozen(eq=False)
class SharedTokens:
    """Which of `total` tokens the other vocabulary contains: `own` (K,) and `others` (K,), table rows."""

    own: Tensor
    others: Tensor
    total: int
    same: bool

    @property
    def count(self) -> int:
        return len(self.own)

    def rows(self, own: Tensor, other: Tensor) -> Tensor:
        """`own` (V, ...) with the rows of shared tokens from `other` (V', ...). If other dimensions differ,
        `other` unchanged, which will not fit."""
        if own.shape[1:] != other.shape[1:]:
            return other
        mixed = own.detach().clone()
        mixed[self.own] = other.to(own)[self.others]
        return mixed


def shared_tokens(tokenizer: Tokenizer, other: Tokenizer) -> SharedTokens:
    """Tokens are the same if they stand for the same bytes; of several such tokens the first counts."""
    mine, others = _bytes(tokenizer), _bytes(other)
    place: dict[bytes, int] = {}
    for number, text in enumerate(others):
        place.setdefault(text, number)
    pairs = [(number, place[text]) for number, text in enumerate(mine) if text in place]
    own_rows, other_rows = (torch.tensor([pair[i] for pair in pairs], dtype=torch.long) for i in (0, 1))
    return SharedTokens(own_rows, other_rows, len(mine), mine == others)


def _bytes(tokenizer: Tokenizer) -> list[bytes]:
    return [tokenizer.decode([token]) for token in range(tokenizer.vocabulary)]


def _tables(model: Any, own: Mapping[str, Tensor]) -> set[str]:
    """The tensors with a row for each token."""
    table = model.embedding.weight
    return {name for name, tensor in own.items() if name == "head.weight" or _same_memory(tensor, table)}


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.data_ptr() == b.data_ptr()


@attrs.define(eq=False)
class _Report:
    values: dict[str, Tensor] = attrs.field(factory=dict)
    new: list[str] = attrs.field(factory=list)
    shapes: list[str] = attrs.field(factory=list)
    tokens: list[str] = attrs.field(factory=list)

    def match(self, name: str, own: Tensor, value: Tensor) -> None:
        if own.shape == value.shape:
            self.values[name] = value
        else:
            self.shapes.append(f"{name} {tuple(value.shape)} in the parent run, {tuple(own.shape)} here")

    def lines(self, own: Mapping[str, Tensor]) -> list[str]:
        loaded = sum(own[name].numel() for name in self.values)
        total = sum(tensor.numel() for tensor in own.values())
        lines = [f"loaded {len(self.values)} of {len(own)} tensors, {loaded / total:.1%} of the weights"]
        for reason, names in (
            ("not in the parent run", self.new),
            ("of another shape", self.shapes),
            ("about tokens, which differ", self.tokens),
        ):
            if names:
                lines.append(f"starts fresh, {reason}: {_named(names)}")
        return lines


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
