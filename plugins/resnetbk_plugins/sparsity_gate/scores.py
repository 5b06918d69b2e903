"""What the gates that judge rows share: scores, straight-through weights and means over real rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from resnetbk.kinds import Rows
from resnetbk.model.rows import real_rows


def projected(x: Tensor, weight: Tensor) -> Tensor:
    """(B, M, D), (H, D) -> (B, M, H) in fp32 or better: weight times rows of root mean square 1.

    The division comes after the product, on H numbers a row. No gradient goes back into the rows: a gate
    reads them, and what pulls at its density has no say in what they mean.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        x = x.detach().to(dtype)
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-6)
        scores: Tensor = F.linear(x, weight.to(dtype)) * (math.sqrt(x.shape[-1]) / size)
    return scores


def one(soft: Tensor) -> Tensor:
    """Exactly 1, with the gradient of `soft`: the straight-through estimator."""
    return 1 + (soft - soft.detach())


def real(values: Tensor, rows: Rows) -> Tensor:
    """(B, M) -> those of the real rows, (R,)."""
    if rows.length is None:
        return values.flatten()
    return values[real_rows(rows.length, values.shape[1])]
