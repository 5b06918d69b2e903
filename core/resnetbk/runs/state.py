"""Training state as plain JSON plus named tensors, and back, exactly.

A tree consists of dicts (str or int keys), lists, tuples, tensors, numpy arrays and scalars, torch dtypes,
str, bool, int, float, complex and None. Its *skeleton* is the same tree as JSON values, where an object with
a `$` key stands for what JSON cannot say:

    {"$tensor": "optimizer.state.0.exp_avg"}      also "$array" and "$scalar", which come back from numpy
    {"$tuple": [...]}    {"$items": [[key, value], ...]}    {"$dtype": "bfloat16"}
    {"$int": "0x..."} beyond 64 bits    {"$float": "7ff8..."} the bits of what is not finite
    {"$complex": [re, im]}
"""

from __future__ import annotations

import math
import re
import struct
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NATIVE = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
}
"""What every safetensors since 0.4.5 writes as it is; others (complex, uint32) go as bytes, with `as`."""


def split(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """The skeleton, and the tensors it names: on the CPU, contiguous, no two of them in one storage.

    Only values are saved: a Parameter comes back as a tensor without gradient, an OrderedDict as a dict, and
    two names of one tensor as two tensors. Raises TypeError naming the place of anything else.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _split(tree, "", tensors)
    storages = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        if storage in storages:
            tensors[name] = tensor.clone()
        storages.add(storage)
    return skeleton, tensors


def join(skeleton: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree that `split` took apart. Raises KeyError or ValueError for a skeleton that it did not make."""
    if isinstance(skeleton, list):
        return [join(item, tensors) for item in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    tag = next((key for key in skeleton if key.startswith("$")), None)
    if tag is None:
        return {key: join(value, tensors) for key, value in skeleton.items()}
    body = skeleton[tag]
    match tag:
        case "$tensor":
            return _tensor(skeleton, tensors[body])
        case "$array":
            return _tensor(skeleton, tensors[body]).numpy()
        case "$scalar":
            return _tensor(skeleton, tensors[body]).numpy()[()]
        case "$tuple":
            return tuple(join(item, tensors) for item in body)
        case "$items":
            return {join(key, tensors): join(value, tensors) for key, value in body}
        case "$int":
            return int(body, 16)
        case "$float":
            return struct.unpack(">d", bytes.fromhex(body))[0]
        case "$complex":
            return complex(*(join(part, tensors) for part in body))
        case "$dtype":
            return _dtype(body)
    raise ValueError(f"unknown tag {tag!r}")


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    # by exact type: a subclass (an enum, a named tuple, a masked array) would not come back as it went
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        if re.search("[\ud800-\udfff]", value):
            raise TypeError(f"{path or 'state'}: cannot save text with lone surrogates")
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**63 else {"$int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": struct.pack(">d", value).hex()}
    if kind is complex:
        return {"$complex": [_split(part, path, tensors) for part in (value.real, value.imag)]}
    if kind in (dict, OrderedDict):
        return _split_dict(value, path, tensors)
    if kind in (list, tuple):
        items = [_split(item, _under(path, place), tensors) for place, item in enumerate(value)]
        return items if kind is list else {"$tuple": items}
    if kind is torch.dtype:
        return {"$dtype": str(value).removeprefix("torch.")}
    if kind in (Tensor, nn.Parameter, nn.Buffer):
        return _name("$tensor", value, path, tensors)
    if kind is np.ndarray or isinstance(value, np.generic):
        tag = "$array" if kind is np.ndarray else "$scalar"
        try:  # copied, because torch takes neither read-only arrays nor negative strides
            return _name(tag, torch.from_numpy(np.array(value, order="C", copy=True)), path, tensors)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{path or 'state'}: cannot save a numpy {value.dtype!r}") from error
    raise TypeError(f"{path or 'state'}: cannot save a {kind.__module__}.{kind.__qualname__}")


def _split_dict(value: dict[Any, Any], path: str, tensors: dict[str, Tensor]) -> Any:
    for key in value:
        if type(key) not in (str, int):
            raise TypeError(f"{path or 'state'}: a key must be a str or an int, not {key!r}")
    items = [
        (_split(key, path, tensors), _split(item, _under(path, key), tensors)) for key, item in value.items()
    ]
    if any(type(key) is int or key.startswith("$") for key in value):
        return {"$items": [[key, item] for key, item in items]}
    return dict(items)


def _under(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def _name(tag: str, tensor: Tensor, path: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise TypeError(f"{path or 'state'}: cannot save a sparse, quantized or meta tensor")
    name = path or "state"
    while name in tensors or name == "__metadata__":  # {"a.b": x, "a": {"b": y}}; and safetensors' own key
        name += "'"
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if plain.dtype in NATIVE:
        tensors[name] = plain
        return {tag: name}
    flat = plain.reshape(-1) if plain.numel() else plain.new_empty(0)  # an empty array's stride may be 0
    tensors[name] = flat.view(torch.uint8)
    return {tag: name, "as": [str(plain.dtype).removeprefix("torch."), list(plain.shape)]}


def _tensor(skeleton: dict[str, Any], stored: Tensor) -> Tensor:
    if "as" not in skeleton:
        return stored
    dtype, shape = skeleton["as"]
    return stored.view(_dtype(dtype)).reshape(shape)


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"unknown dtype {name!r}")
    return dtype
