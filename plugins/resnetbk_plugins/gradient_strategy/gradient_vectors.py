"""Gradients of all parameters as one vector, dense and sparse parts together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

Gradients = tuple[Tensor | None, ...]
"""A gradient per parameter; sparse gradients are coalesced, None stands for zero."""


def read_gradients(parameters: Sequence[nn.Parameter]) -> Gradients:
    """Copies of `.grad`."""
    return tuple(_copy(parameter.grad) for parameter in parameters)


def set_gradients(parameters: Sequence[nn.Parameter], gradients: Gradients) -> None:
    """Sets `.grad` to copies, since clipping and optimizers change them in place."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = _copy(gradient)


def _copy(gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return None
    return gradient.coalesce().clone() if gradient.is_sparse else gradient.detach().clone()


def cosine(a: Gradients, b: Gradients) -> float:
    """Between the whole vectors, in float64; 0 when a or b is zero."""
    scale = math.sqrt(dot(a, a)) * math.sqrt(dot(b, b))
    return dot(a, b) / scale if scale else 0.0


def dot(a: Gradients, b: Gradients) -> float:
    """The inner product. Not finite when an element of a or b is not, except in rows of a sparse gradient
    that the other one does not have."""
    total = 0.0
    for x, y in zip(a, b, strict=True):
        if x is not None and y is not None:
            total += _dot(x, y)
    return total


def _dot(a: Tensor, b: Tensor) -> float:
    if a.is_sparse and b.is_sparse:
        rows, places = a.indices()[0], b.indices()[0]
        place = rows.new_full((b.shape[0],), -1).index_copy_(0, places, torch.arange(len(places)).to(places))
        at = place.index_select(0, rows)
        shared = (at >= 0).nonzero()[:, 0]
        a, b = a.values().index_select(0, shared), b.values().index_select(0, at.index_select(0, shared))
    elif a.is_sparse or b.is_sparse:
        sparse, dense = (a, b) if a.is_sparse else (b, a)
        a, b = sparse.values(), dense.index_select(0, sparse.indices()[0])
    return float((a.double() * b.double()).sum())


def packed(gradients: Gradients) -> list[Any]:
    """In a form that a checkpoint can store: a tensor, None, or indices and values of a sparse tensor."""
    return [
        {"indices": gradient.indices(), "values": gradient.values()}
        if gradient is not None and gradient.is_sparse
        else gradient
        for gradient in gradients
    ]


def unpacked(saved: Sequence[Any], parameters: Sequence[nn.Parameter]) -> Gradients:
    """The inverse of `packed`, on the parameters' devices."""
    return tuple(_unpacked(item, parameter) for item, parameter in zip(saved, parameters, strict=True))


def _unpacked(item: Any, parameter: nn.Parameter) -> Tensor | None:
    if item is None:
        return None
    if isinstance(item, Tensor):
        return item.to(parameter.device)
    indices, values = (item[key].to(parameter.device) for key in ("indices", "values"))
    return torch.sparse_coo_tensor(
        indices, values, parameter.shape, is_coalesced=True, check_invariants=False
    )
