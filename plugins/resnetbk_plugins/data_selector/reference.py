"""The losses of windows under a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnetbk.errors import UserError
from resnetbk_plugins.data_selector.layout import Layout

if TYPE_CHECKING:
    from resnetbk.kinds import Array, ParentCosts

PIECE = 2**24
"""Tokens compared at a time."""


def reference_losses(tokens: Array, layout: Layout, path: str) -> tuple[Array, ParentCosts]:
    """(count,) float32: the mean loss of each window, in nats/token, under the run in folder `path`; and what
    that run cost to train, by its folder.

    The run is only read. Its components must be installed, or named by --registry or RESNETBK_REGISTRY. Its
    corpus and tokenizer, read again, must give these very tokens: otherwise a token would mean something else
    to it. Raises UserError when they do not, StorageError for a run that is missing, damaged, or not a run.
    """
    import torch

    import resnetbk
    from resnetbk.kinds import Windows
    from resnetbk.training.device import find_device
    from resnetbk.training.objective import TOKENS_PER_PASS, objective
    from resnetbk_plugins.initializer.parent import identity, reading

    # assembling a model seeds torch, whose generators belong to the run that is being set up
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.inference_mode():
        with reading("data.selector", path):
            run = resnetbk.open_run(Path(path).expanduser())
        data = run.data()
        if not _equal(data.train, tokens):
            raise UserError(
                f"data.selector: the run in {path} reads other tokens: the reference must be trained on the "
                "same data.corpus, with the same data.tokenizer"
            )
        device = find_device()
        model = run.model.to(device)
        losses = np.empty(layout.count, np.float32)
        at_once = max(1, TOKENS_PER_PASS // layout.window)
        for first in range(0, layout.count, at_once):
            last = min(first + at_once, layout.count)
            windows: Windows = layout.windows(np.arange(first, last))
            result, _ = objective(model, data.batch(windows, device), run.spec.train.precision)
            losses[first:last] = result.window_losses.float().cpu().numpy()
    return losses, {identity(path): dict(run.cost)}


def _equal(a: Array, b: Array) -> bool:
    """Whether two token arrays, which may be mapped from files, are the same."""
    return len(a) == len(b) and all(
        np.array_equal(a[at : at + PIECE], b[at : at + PIECE]) for at in range(0, len(a), PIECE)
    )
