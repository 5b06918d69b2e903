"""What keeps numbers that are not finite from reaching the rows before them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def mixed_causally(mix: Callable[[Tensor], Tensor], x: Tensor, row: Tensor | None = None) -> Tensor:
    """mix(x), (B, M, D) -> (B, M, D), or (B, R, D) for the rows of x that `row` (B, R) names, where `mix`
    multiplies what a row may not see by zero: not enough where that is not finite, since 0 * inf is NaN.

    From the first row on that is not finite, all rows are NaN; those before are what they would be with any
    other row there. On CPUs a sum tells whether there is such a row; on other devices and in compiled code,
    where the answer would have to be waited for, rows are always replaced: there it is a part of what comes
    before and after.
    """
    if x.is_cpu and not torch.compiler.is_compiling() and bool(x.sum().isfinite()):
        return mix(x)
    bad = ~x.isfinite().all(-1, True)
    every = torch.arange(x.shape[1], device=x.device)[:, None]
    # a minimum is parallel, as cumsum is not always
    first = torch.where(bad, every, x.shape[1]).amin(1, True)
    mixed_rows = every if row is None else row[..., None]
    return mix(x.masked_fill(bad, 0.0)).masked_fill(mixed_rows >= first, math.nan)
