"""What keeps numbers that are not finite from reaching the rows before them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def mixed_causally(mix: Callable[[Tensor, Tensor], Tensor], key: Tensor, value: Tensor) -> Tensor:
    """mix(key, value) (B, H, M, V), for keys (B, H, M, K) and values (B, H, M, V), where `mix` multiplies
    what a row may not see by zero: not enough where that is not finite, since 0 * inf is NaN.

    From the first row on whose key or value is not finite, all rows are NaN; those before are what they would
    be with any other row there. On CPUs a sum of both tells whether there is such a row; on other devices and
    in compiled code, where the answer would have to be waited for, rows are always replaced.
    """
    if key.is_cpu and not torch.compiler.is_compiling() and bool((key.sum() + value.sum()).isfinite()):
        return mix(key, value)
    bad = ~(key.isfinite().all(-1, True) & value.isfinite().all(-1, True))
    mixed = mix(key.masked_fill(bad, 0.0), value.masked_fill(bad, 0.0))
    return mixed.masked_fill(bad.cumsum(2) > 0, math.nan)
