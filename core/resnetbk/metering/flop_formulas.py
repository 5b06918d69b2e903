"""Formulas for operators whose cost does not follow from the number of elements alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Formula = Callable[[Sequence[Any], Mapping[str, Any], Any], int]
"""FLOPs of one call, from its positional arguments, keyword arguments and result."""

KEYS_TOGETHER = 512
"""Keys in a block of torch's attention kernel for CPUs; a query's block is 32, 64 or 256 long."""


def size(value: Any) -> int:
    """Elements of a tensor, of a sparse one those it stores, or of all tensors in a list."""
    if isinstance(value, Tensor):
        return value._values().numel() if value.layout is torch.sparse_coo else value.numel()
    return sum(size(item) for item in value) if isinstance(value, (list, tuple)) else 0


def _matrices(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """(..., m, k) times (..., k, n), the last two arguments; what is added to the product is not counted."""
    return 2 * int(args[-2].numel()) * int(args[-1].shape[-1])


def _product(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """A matrix or vector times a vector: the last two arguments."""
    return 2 * max(int(args[-2].numel()), int(args[-1].numel()))


def _outer(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return 2 * int(out.numel())


def _added(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """(x, dimension, index, source): one for each element of the source."""
    return size(args[3]) if len(args) > 3 else size(kwargs.get("source", kwargs.get("src")))


def _put(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """(x, indices, values, accumulate): additions when it accumulates."""
    accumulates = args[3] if len(args) > 3 else kwargs.get("accumulate", False)
    return size(args[2]) if accumulates else 0


def _bag(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """(table, indices, offsets, scale, mode, sparse, weights): rows, maybe weighted, are summed."""
    weights = args[6] if len(args) > 6 else kwargs.get("per_sample_weights")
    return (1 if weights is None else 2) * int(args[1].numel() * args[0].shape[1])


def _bag_weights(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """(gradient, weight, indices, ...): each bag's gradient times its rows."""
    return 2 * int(args[2].numel() * args[1].shape[1])


def _bag_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """(gradient, indices, ...): each bag's gradient is added to its rows, unless a sparse one comes out."""
    return 0 if out.layout is torch.sparse_coo else int(args[1].numel() * args[0].shape[1])


def _convolution_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Torch's formula multiplies by the groups. Each gradient costs what the convolution costs."""
    gradient, x, weight, transposed, mask = args[0], args[1], args[2], args[7], args[10]
    once = 2 * (x if transposed else gradient).numel() // weight.shape[0] * weight.numel()
    return int(once * (mask[0] + mask[1]) + (gradient.numel() if mask[2] else 0))


def _fourier(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """5 n log2 n, half of it between real and complex (Cooley & Tukey, 1965)."""
    x = args[0]
    points = math.prod((out if x.is_complex() and not out.is_complex() else x).shape[d] for d in args[1])
    factor = 5.0 if x.is_complex() and out.is_complex() else 2.5
    return int(factor * max(x.numel(), out.numel()) * math.log2(max(points, 2)))


def _scores(query: Tensor, key: Tensor, causal: bool) -> int:
    """Scores that the CPU kernel computes: with `causal`, for each block of queries all blocks of keys that
    begin before its end. Up to 512 keys that is the full square, for long sequences about half of it."""
    heads, queries, keys = math.prod(query.shape[:2]), query.shape[2], key.shape[2]
    if not causal:
        return heads * queries * keys
    block = 256 if queries >= 768 else 64 if queries >= 192 else 32
    done = 0
    for first in range(0, queries, block):
        rows = min(block, queries - first)
        seen = min(first + rows, keys)
        done += rows * min(-(-seen // KEYS_TOGETHER) * KEYS_TOGETHER, keys)
    return heads * done


def _attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """(query, key, value, dropout, causal): two products, and scale, maximum, difference, exponential, sum;
    the quotient is of the result."""
    query, key, value = args[:3]
    causal = bool(args[4] if len(args) > 4 else kwargs.get("is_causal", False))
    per_score = 2 * query.shape[3] + 2 * value.shape[3] + 5
    return _scores(query, key, causal) * int(per_score) + int(out[0].numel())


def _attention_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """(gradient, query, key, value, out, logsumexp, dropout, causal): five products, for the scores are
    computed again, and difference, exponential, difference, product."""
    gradient, query, key, value = args[:4]
    causal = bool(args[7] if len(args) > 7 else kwargs["is_causal"])
    per_score = 6 * query.shape[3] + 4 * value.shape[3] + 4
    return _scores(query, key, causal) * int(per_score) + 2 * int(gradient.numel())


FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), _matrices),
    **dict.fromkeys(("mv", "addmv", "dot", "vdot"), _product),
    **dict.fromkeys(("addr", "ger"), _outer),
    **dict.fromkeys(("index_add", "scatter_add", "index_reduce", "scatter_reduce"), _added),
    **dict.fromkeys(("index_put", "_index_put_impl", "_unsafe_index_put"), _put),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _bag),
    **dict.fromkeys(("_embedding_bag_backward", "_embedding_bag_dense_backward"), _bag_backward),
    "_embedding_bag_per_sample_weights_backward": _bag_weights,
    "convolution_backward": _convolution_backward,
    **dict.fromkeys(("_fft_r2c", "_fft_c2c", "_fft_c2r"), _fourier),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
}
