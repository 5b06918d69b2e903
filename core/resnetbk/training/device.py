"""Where a training runs."""

from __future__ import annotations

import torch

from resnetbk.errors import UserError


def find_device(asked: str | None = None) -> torch.device:
    """`cpu` or `cuda` as asked; without that, cuda where there is one. Raises UserError for one that is not
    there."""
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UserError("there is no CUDA device here; leave --device out, or say cpu")
    return torch.device(asked or ("cuda" if there else "cpu"))
