"""Which formula an operator has: FLOPs, a multiplication and an addition counted as two.

In this order: what the tables here and in `flop_formulas` say; the formulas registered with torch
(`torch.utils.flop_counter.register_flop_formula`: convolutions, fused attention on GPUs, and plugins' own
operators); nothing for views, copies, gathers and creation; by torch's tags, one for each element that comes
out of a pointwise operator and one for each element that goes into a reduction. Transcendental functions
count as one, and so does arithmetic on integers. Composite operators count as what they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from resnetbk.metering.flop_formulas import FORMULAS, Formula, size

COMPOSITE = "composite"

_BITWISE = ("and", "or", "xor", "lshift", "rshift")

# fmt: off
FREE = frozenset((
    "_to_copy", "copy", "clone", "cat", "stack", "gather", "index", "index_select", "embedding", "repeat",
    "repeat_interleave", "roll", "flip", "take", "masked_select", "masked_scatter", "index_copy",
    "index_fill", "scatter", "select_backward", "slice_backward", "select_scatter", "slice_scatter",
    "diagonal_scatter", "as_strided_scatter", "unfold_backward", "constant_pad_nd", "reflection_pad1d",
    "replication_pad1d",
    "_unsafe_view", "_reshape_copy", "fill", "zero", "tril", "triu", "nonzero", "resize", "set",
    "embedding_sparse_backward", "nll_loss_forward", "nll_loss_backward", "split_with_sizes_copy",
    "copy_sparse_to_sparse", "_pin_memory", "record_stream", "detach",
))
"""Memory movement, and picking out; without the underscore of what works in place."""

REDUCTIONS = frozenset((
    "sum", "nansum", "mean", "prod", "var", "std", "var_mean", "std_mean", "amax", "amin", "aminmax", "max",
    "min", "argmax", "argmin", "any", "all", "norm", "linalg_vector_norm", "logsumexp", "count_nonzero",
    "median", "trace",
))
"""Beside what torch tags as one; older versions have no such tag."""

LOSSES = (
    "log_sigmoid", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "smooth_l1_loss",
    "huber_loss", "soft_margin_loss",
)
"""Pointwise, and then perhaps summed up, which torch does not tag."""

UNTAGGED = frozenset((
    *LOSSES, "floor_divide", "searchsorted", "bucketize", "isin", "complex", "polar", "glu", "hardswish",
    "_prelu_kernel", "_masked_scale", *(f"__{i}{name}__" for i in ("", "i") for name in _BITWISE),
))
"""Other pointwise operators that torch does not tag, and the backward operators of losses."""
# fmt: on

FIRST = {
    # maximum, difference, exponential, sum, quotient; backward: product, sum, difference, product
    **dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax"), 5),
    **dict.fromkeys(("_softmax_backward_data", "_log_softmax_backward_data"), 4),
    # mean, difference, its square, variance, scale, weight, bias; backward: the same again, twice
    **dict.fromkeys(("native_layer_norm", "native_group_norm", "native_batch_norm"), 7),
    **dict.fromkeys(
        ("native_layer_norm_backward", "native_group_norm_backward", "native_batch_norm_backward"), 14
    ),
    # square, mean, scale, weight
    "_fused_rms_norm": 4,
    "_fused_rms_norm_backward": 10,
    # sums into rows that may be met again
    **dict.fromkeys(("embedding_dense_backward", "_coalesce"), 1),
    # orders and counts: one comparison or increment
    **dict.fromkeys(("sort", "topk", "argsort", "kthvalue", "bincount", "histc", "_unique2"), 1),
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"), 1),
    **dict.fromkeys((*LOSSES, "log_sigmoid_forward"), 1),
    "native_dropout": 2,
    "_fused_adam_": 13,
    "_fused_adamw_": 14,
    "_fused_adagrad_": 7,
    "_fused_sgd_": 4,
}
"""FLOPs for each element of the first argument: a tensor, or a list of them."""


def formula(func: Any) -> Formula | str | None:
    """How to count calls of an operator: a formula, COMPOSITE for what consists of others, or None."""
    packet = getattr(func, "_overloadpacket", func)
    schema = getattr(func, "_schema", None)
    if schema is None:  # a higher-order operator
        return _registered(flop_registry[packet]) if packet in flop_registry else None
    namespace, name = schema.name.split("::")
    plain = name if name.startswith("__") else name.removesuffix("_")
    if namespace == "aten":
        for known in (name, plain):
            if known in FORMULAS or known in FIRST:
                return FORMULAS.get(known) or _first(FIRST[known])
    if packet in flop_registry:
        return _registered(flop_registry[packet])
    if namespace in ("aten", "prim") and (plain in FREE or _moves(schema)):
        return _nothing
    # what processes tell each other, where being added up is a trifle; and marks for a profiler
    if namespace in ("c10d", "_c10d_functional", "fsdp", "profiler"):
        return _nothing
    if torch.Tag.pointwise in func.tags:
        return _pointwise
    if _is_composite(func):
        return COMPOSITE
    if namespace == "aten":
        plain = plain.removeprefix("_foreach_").removesuffix("_backward")
        if plain in FREE:
            return _nothing
    tags = {*func.tags, *_tags(plain if namespace == "aten" else "")}
    if plain in REDUCTIONS or getattr(torch.Tag, "reduction", None) in tags:
        return _first(1)
    if torch.Tag.pointwise in tags or torch.Tag.nondeterministic_seeded in tags or plain in UNTAGGED:
        return _pointwise
    return None


def _is_composite(func: Any) -> bool:
    """Whether an operator only calls others, and has no code of its own on any device."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    own = ("CPU", "CUDA", "CompositeExplicitAutograd")
    return has(func.name(), "CompositeImplicitAutograd") and not any(has(func.name(), key) for key in own)


def _tags(name: str) -> set[Any]:
    """The tags of any overload of an aten operator."""
    packet = getattr(torch.ops.aten, name, None) if name else None
    overloads = packet.overloads() if packet is not None else ()
    return {tag for overload in overloads for tag in getattr(packet, overload).tags}


def _moves(schema: Any) -> bool:
    """Views, creation of tensors, and what gives no tensor."""
    takes = any("Tensor" in str(argument.type) for argument in schema.arguments)
    gives = any("Tensor" in str(value.type) for value in schema.returns)
    aliases = [value.alias_info for value in schema.returns]
    view = bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)
    name = schema.name.split("::")[1]
    creates = name.startswith("new_") or name.endswith("_like")
    changes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
    return view or not takes or creates or (not gives and not changes)


def _nothing(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return 0


def _pointwise(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return size(args[0] if out is None else out)


def _first(per_element: int) -> Formula:
    return lambda args, kwargs, out: per_element * size(args[0] if args else next(iter(kwargs.values())))


def _registered(formula: Any) -> Formula:
    return lambda args, kwargs, out: int(formula(*args, **kwargs, out_val=out))
