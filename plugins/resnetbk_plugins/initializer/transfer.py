"""Weights by name and shape into a model, its vocabulary by what tokens stand for."""

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
"""Tensors that a line names before it counts the others."""

PART = {"embedding": "embedding", "head": "head"}
"""The part that a tensor's first name belongs to; all others are of the trunk, the norm at its end too."""


def transfer(
    model: Any, tokenizer: Tokenizer, parent: ParentRun, weights: Mapping[str, Tensor], parts: Collection[str]
) -> list[str]:
    """Copies what fits; says in lines what did, what did not, and why.

    weights  what is to be copied, by the names of `model`; their vocabulary is the parent run's
    parts    of "embedding", "trunk" and "head"

    A table of tokens, and the head, take the rows of the tokens that both sides know, by their bytes; the
    rows of others stay as they were built. Whatever else belongs to the embedding counts tokens by number
    (hashed n-grams) or in its own measure (positions), so it is copied only where all tokens are the same.

    Raises StorageError, with nothing copied, when nothing fits.
    """
    own: dict[str, Tensor] = model.state_dict()
    wanted = [name for name in own if PART.get(name.partition(".")[0], "trunk") in parts]
    pairs = shared_tokens(tokenizer, parent.tokenizer)
    tables = _tables(model, own)
    account = _Account()
    for name in wanted:
        if name not in weights:
            account.new.append(name)
        elif name in tables and not pairs.same:
            account.match(name, own[name], pairs.rows(own[name], weights[name]))
        elif name.startswith("embedding.") and name not in tables and not pairs.same:
            account.tokens.append(name)
        else:
            account.match(name, own[name], weights[name])
    if not account.values:
        raise StorageError(f"train.start: {parent.path}: nothing in it fits this model")
    with torch.no_grad():
        for name, value in account.values.items():
            own[name].copy_(value)
    lines = account.lines(own)
    if not pairs.same and any(name in tables for name in account.values):
        lines.append(f"{pairs.count} of {pairs.total} tokens are known there; the others' rows start fresh")
    asked_not = len(own) - len(wanted)
    if asked_not:
        lines.append(f"not asked for: {asked_not} tensors outside of {', '.join(parts)}")
    left = [name for name in weights if name not in own]
    if left:
        lines.append(f"left behind, not in this model: {_named(left)}")
    return lines


@attrs.frozen(eq=False)
class SharedTokens:
    """Which of `total` tokens are known on the other side: own (K,) and others (K,), rows of a table."""

    own: Tensor
    others: Tensor
    total: int
    same: bool

    @property
    def count(self) -> int:
        return len(self.own)

    def rows(self, own: Tensor, other: Tensor) -> Tensor:
        """`own` (V, ...) with the rows of known tokens from `other` (V', ...), which may differ in length
        alone; else `other` as it is, which will not fit."""
        if own.shape[1:] != other.shape[1:]:
            return other
        mixed = own.detach().clone()
        mixed[self.own] = other.to(own)[self.others]
        return mixed


def shared_tokens(tokenizer: Tokenizer, other: Tokenizer) -> SharedTokens:
    """Tokens are the same when they stand for the same bytes; of several such the first counts."""
    mine, others = (_bytes(one) for one in (tokenizer, other))
    place: dict[bytes, int] = {}
    for number, text in enumerate(others):
        place.setdefault(text, number)
    found = [(number, place[text]) for number, text in enumerate(mine) if text in place]
    own, there = (torch.tensor([pair[i] for pair in found], dtype=torch.long) for i in (0, 1))
    return SharedTokens(own, there, len(mine), mine == others)


def _bytes(tokenizer: Tokenizer) -> list[bytes]:
    return [tokenizer.decode([token]) for token in range(tokenizer.vocabulary)]


def _tables(model: Any, own: Mapping[str, Tensor]) -> set[str]:
    """The tensors with a row for each token."""
    table = model.embedding.weight
    return {name for name, tensor in own.items() if name == "head.weight" or _same_memory(tensor, table)}


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.data_ptr() == b.data_ptr()


@attrs.define(eq=False)
class _Account:
    values: dict[str, Tensor] = attrs.field(factory=dict)
    new: list[str] = attrs.field(factory=list)
    shapes: list[str] = attrs.field(factory=list)
    tokens: list[str] = attrs.field(factory=list)

    def match(self, name: str, own: Tensor, value: Tensor) -> None:
        if own.shape == value.shape:
            self.values[name] = value
        else:
            self.shapes.append(f"{name} {tuple(value.shape)} there, {tuple(own.shape)} here")

    def lines(self, own: Mapping[str, Tensor]) -> list[str]:
        numbers = sum(own[name].numel() for name in self.values)
        total = sum(tensor.numel() for tensor in own.values())
        lines = [f"loaded {len(self.values)} of {len(own)} tensors, {numbers / total:.1%} of their numbers"]
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
