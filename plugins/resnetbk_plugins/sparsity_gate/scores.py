"""What the learned gates share: scores of rows, the straight-through estimator, values of real rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from resnetbk.kinds import Rows
from resnetbk.model.rows import real_rows


def projected(x: Tensor, weight: Tensor) -> Tensor:
    """(B, M, D), (H, D) -> (B, M, H) in fp32 or better: weight times rows of root mean square 1.

    The division comes after the product, on H numbers per row. The rows get no gradient: the penalty on a
    gate's density must not change what they represent.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        x = x.detach().to(dtype)
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-6)
        scores: Tensor = F.linear(x, weight.to(dtype)) * (math.sqrt(x.shape[-1]) / size)
    return scores


def straight_through(soft: Tensor) -> Tensor:
    """Exactly 1, with the gradient of `soft`: the straight-through estimator."""
    return 1 + (soft - soft.detach())


def real_values(values: Tensor, rows: Rows) -> Tensor:
    """(B, M) -> the values of the real rows, (R,)."""
    if rows.length is None:
        return values.flatten()
    return values[real_rows(rows.length, values.shape[1])]
