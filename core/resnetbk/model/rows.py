"""Gather and scatter: from the rows of a batch to the rows that are really computed, and back.

B batch, M rows present, R rows computed, W the most rows any sequence has computed, D width.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeAlias

import attrs
import torch
from torch import Tensor

from resnetbk.kinds import Rows, State


@attrs.define(eq=False)
class WholePacking:
    """Every row is computed, where it is: the packing that moves nothing.

    shape   (B, M) of the rows
    length  (B,) or None: see `Rows.length`
    """

    shape: tuple[int, int]
    length: Tensor | None

    @property
    def rows(self) -> int:
        """R, the number of rows computed."""
        return self.shape[0] * self.shape[1]

    def take(self, x: Tensor) -> Tensor:
        """(B, M, ...) -> (R, ...)."""
        return x.flatten(0, 1)

    unpad = take

    def pad(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (B, M, ...)."""
        return rows.view(*self.shape, *rows.shape[1:])

    def put(self, x: Tensor, rows: Tensor) -> Tensor:
        """(R, D) in the shape of `x`, (B, M, D)."""
        return self.pad(rows)


class Packing:
    """Which of B x M rows are computed: those that `mask` (B, M) bool keeps, in order. They are padded to a
    left-packed (B, W) layout.

    index  (R,) int64 into the B*M rows, rising
    spare  S, how many rows are computed besides, which are copies of the last and thrown away

    Under autocast there are spare rows and a wider W, so that their numbers recur from step to step: oneDNN
    compiles half-precision products for each number of rows, which takes longer than the product. With
    `few_sizes`, for compiled layers, they are at least an eighth of all, and no more than 13.
    """

    def __init__(self, mask: Tensor, few_sizes: bool = False) -> None:
        self.mask = mask
        self.index = mask.flatten().nonzero().squeeze(1)
        self._few = few_sizes
        self._recurs = mask.shape[1] > 1 and (few_sizes or torch.is_autocast_enabled(mask.device.type))
        self.spare = self._size(len(self.index), mask.numel(), 64) - len(self.index)

    @cached_property
    def length(self) -> Tensor:
        """(B,) int64: rows computed of each sequence."""
        return self.mask.sum(1)

    @cached_property
    def width(self) -> int:
        """W: the largest length, or a few more."""
        longest = int(self.length.max()) if self.mask.numel() else 0
        return self._size(longest, self.mask.shape[1], 32)

    @cached_property
    def slot(self) -> Tensor:
        """(R,) int64: where each goes in the B*W packed rows."""
        sequence = self.index // max(self.mask.shape[1], 1)
        return sequence * self.width + (self.mask.cumsum(1) - 1).flatten()[self.index]

    @property
    def rows(self) -> int:
        """R, the number of rows computed."""
        return self.index.shape[0]

    def take(self, x: Tensor) -> Tensor:
        """(B, M, ...) -> (R + S, ...)."""
        return x.flatten(0, 1).index_select(0, self._with_spare(self.index))

    def put(self, x: Tensor, rows: Tensor) -> Tensor:
        """(B, M, D) with the computed rows (R + S, D) in their places."""
        return x.flatten(0, 1).index_copy(0, self.index, rows[: self.rows].to(x.dtype)).view(x.shape)

    def pad(self, rows: Tensor) -> Tensor:
        """(R + S, ...) -> (B, W, ...), zeros to the right of each sequence's rows."""
        batch = self.mask.shape[0]
        padded = rows.new_zeros(batch * self.width, *rows.shape[1:])
        padded.index_copy_(0, self.slot, rows[: self.rows])
        return padded.view(batch, self.width, *rows.shape[1:])

    def unpad(self, padded: Tensor) -> Tensor:
        """(B, W, ...) -> (R + S, ...)."""
        return padded.flatten(0, 1).index_select(0, self._with_spare(self.slot))

    def _size(self, count: int, most: int, parts: int) -> int:
        if not self._recurs or not count:
            return count
        few, parts = (most // 8, 4) if self._few else (0, parts)
        return min(rounded(max(count, few), parts), most)

    def _with_spare(self, places: Tensor) -> Tensor:
        return torch.cat([places, places[-1:].expand(self.spare)]) if self.spare else places


class Documents:
    """Windows cut where `begins` (B, N) bool says that a document does, and put together again. Documents are
    sequences of their own, S of at most W rows, padded to the right: so nothing passes from one to another.

    length  (S,) int64: rows of each
    slot    (B * N,) int64: where each row goes in the S * W padded ones
    """

    def __init__(self, begins: Tensor) -> None:
        self.shape = begins.shape
        first = begins.clone()
        first[:, 0] = True
        starts = first.flatten().nonzero().squeeze(1)
        places = torch.arange(first.numel(), device=starts.device)
        self.length = starts.diff(append=starts.new_tensor([first.numel()]))
        self.width = int(self.length.max())
        document = first.flatten().cumsum(0) - 1
        self.slot = document * self.width + places - starts[document]

    def pad(self, rows: Tensor) -> Tensor:
        """(B, N, ...) -> (S, W, ...)."""
        padded = rows.new_zeros(len(self.length) * self.width, *rows.shape[2:])
        padded = padded.index_copy(0, self.slot, rows.flatten(0, 1))
        return padded.view(-1, self.width, *rows.shape[2:])

    def unpad(self, padded: Any) -> Any:
        """(S, W, ...) -> (B, N, ...); what is no tensor stays as it is."""
        if not isinstance(padded, Tensor):
            return padded
        return padded.flatten(0, 1).index_select(0, self.slot).view(*self.shape, *padded.shape[2:])


AnyPacking: TypeAlias = Packing | WholePacking


def pack(rows: Rows, mask: Tensor | None, few_sizes: bool = False) -> AnyPacking:
    """The packing of those rows that `mask` (B, M) keeps; None keeps all."""
    if mask is not None:
        packing = Packing(mask, few_sizes)
        if packing.rows < mask.numel():
            return packing
    batch, present = rows.position.shape
    return WholePacking((batch, present), rows.length)


def rounded(count: int, parts: int) -> int:
    """Up to a multiple of the largest power of two in count / parts: at most one part more."""
    step = 1 << max(0, (count // parts).bit_length() - 1)
    return -(-count // step) * step


def real_rows(length: Tensor, present: int) -> Tensor:
    """(B,) lengths -> (B, M) bool: which of M rows are no padding; see `Rows.length`."""
    return torch.arange(present, device=length.device) < length[:, None]


def select(state: State, index: Tensor) -> State:
    """The state of the sequences in `index` (rising) alone."""
    if all(tensor.shape[0] == index.shape[0] for tensor in state.values()):
        return state
    return {name: tensor.index_select(0, index) for name, tensor in state.items()}


def merge(state: State, index: Tensor, part: State) -> State:
    """The state with the sequences in `index` replaced; dimension 1 grows with zeros where `part` grew."""
    if all(tensor.shape[0] == index.shape[0] for tensor in state.values()):
        return part
    merged = {}
    for name, tensor in state.items():
        new = part[name].to(tensor.dtype)
        if new.shape[1:] != tensor.shape[1:]:
            missing = tensor.new_zeros(tensor.shape[0], new.shape[1] - tensor.shape[1], *tensor.shape[2:])
            tensor = torch.cat([tensor, missing], dim=1)
        merged[name] = tensor.index_copy(0, index, new)
    return merged
