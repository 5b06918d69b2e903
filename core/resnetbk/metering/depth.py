"""How deep each token went: layers that really ran for it, from what a pass reports."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from resnetbk.model.passes import LayerStatistics
from resnetbk.model.rows import Documents, real_rows

BEYOND = torch.iinfo(torch.int64).max
"""A position after every token's, for rows that are padding."""


def masks(layer: LayerStatistics) -> tuple[Tensor, Tensor, Tensor]:
    """(B, M) bool each: the real rows, and those that the mixer and the channel mixer computed."""
    batch, present = layer.position.shape
    whole = layer.position.new_full((batch,), present)
    real = real_rows(whole if layer.length is None else layer.length, present)
    mixer, channel = (real if mask is None else mask for mask in (layer.mixer, layer.channel))
    return real, mixer, channel


def computed(layer: LayerStatistics) -> Tensor:
    """(B, M) float: 1 where a layer computed a row, 0.5 where its mixer or its channel mixer alone did."""
    _, mixer, channel = masks(layer)
    return 0.5 * (mixer.float() + channel.float())


def per_token(layer: LayerStatistics, tokens: int) -> Tensor:
    """(B, N) float: `computed` of the row that speaks for each token, the last one at or before it."""
    done = computed(layer)
    position = layer.position
    if position.shape[1] == tokens:  # one row a token
        return done
    if layer.length is not None:
        position = position.masked_fill(~real_rows(layer.length, position.shape[1]), BEYOND)
    places = torch.arange(tokens, device=position.device).repeat(position.shape[0], 1)
    last = torch.searchsorted(position.contiguous(), places, right=True) - 1
    return done.gather(1, last.clamp(min=0)) * (last >= 0)


def layers_run(layers: Sequence[LayerStatistics], tokens: int, documents: Documents | None = None) -> Tensor:
    """(B, N) float: the layers that ran for each token; of windows that were cut into `documents` too."""
    width = documents.width if documents else tokens
    total = torch.stack([per_token(layer, width) for layer in layers]).sum(0)
    return documents.unpad(total) if documents else total
