"""The size of a step's gradient: known before the update, so that a bad one never happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def clip(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scales all gradients together so that their norm is at most `limit` (0: leaves them).

    Returns the norm before, on the device: not finite when any gradient is not; what is then left of them is
    not to be used.
    """
    values: list[Any] = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad.values())
        elif parameter.grad is not None:
            values.append(parameter.grad)
    norm = nn.utils.get_total_norm(values)
    if hasattr(norm, "full_tensor"):  # of shards, those of other processes included
        norm, values = norm.full_tensor(), [shard.to_local() for shard in values]
    if limit and values:
        scale = torch.where(norm > limit, limit / norm.double(), 1.0)  # times 1 changes no bit
        torch._foreach_mul_(values, scale.to(norm.dtype))
    return norm
