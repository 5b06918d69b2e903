"""The size of a step's gradient: known before the update, so that a bad one never happens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def clip(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scales all gradients together so that their norm is at most `limit` (0: leaves them).

    Returns the norm before, which is not finite when any gradient is not; then nothing is scaled.
    """
    values = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
                values.append(parameter.grad.values())
            else:
                values.append(parameter.grad)
    norm = float(nn.utils.get_total_norm(values))
    if limit and limit < norm < float("inf"):
        torch._foreach_mul_(values, limit / norm)
    return norm
