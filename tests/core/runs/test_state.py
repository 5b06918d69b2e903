"""Whatever training state holds comes back from JSON and safetensors exactly, or is refused by its place."""

from __future__ import annotations

import enum
import json
import math
import re
import struct
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from resnetbk.runs.state import NATIVE, join, split

FOREIGN_TO_SAFETENSORS = [
    *(torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.uint16, torch.uint32, torch.uint64),
]
DTYPES = [*sorted(NATIVE, key=str), *FOREIGN_TO_SAFETENSORS]
ARRAY_DTYPES = "?bhilBHILefdFD"


def through_files(tree: Any) -> Any:
    skeleton, tensors = split(tree)
    return join(json.loads(json.dumps(skeleton, allow_nan=False)), load(save(tensors)))


def bits(tensor: torch.Tensor) -> list[int]:
    flat = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).tolist()


def assert_same(a: Any, b: Any, place: str = "tree") -> None:
    """Equal in type, shape, order and bits."""
    assert type(a) is type(b), place
    if isinstance(a, dict):
        assert [(type(key), key) for key in a] == [(type(key), key) for key in b], place
        for key in a:
            assert_same(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), place
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{place}.{number}")
    elif isinstance(a, torch.Tensor):
        assert (a.dtype, a.shape, bits(a)) == (b.dtype, b.shape, bits(b)), place
    elif isinstance(a, np.ndarray | np.generic):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), place
    elif isinstance(a, float):
        assert struct.pack(">d", a) == struct.pack(">d", b), place
    elif isinstance(a, complex):
        assert struct.pack(">2d", a.real, a.imag) == struct.pack(">2d", b.real, b.imag), place
    else:
        assert a == b, place


shapes = st.lists(st.integers(0, 3), max_size=3)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(shapes)
    size = math.prod(shape) * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if dtype is torch.bool:
        raw = bytes(byte & 1 for byte in raw)
    return torch.tensor(list(raw), dtype=torch.uint8).view(dtype).reshape(shape)


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    dtype, shape = np.dtype(draw(st.sampled_from(ARRAY_DTYPES))), draw(shapes)
    size = math.prod(shape) * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        raw = bytes(byte & 1 for byte in raw)
    return np.frombuffer(raw, dtype).reshape(shape)  # read-only, as arrays often are


big = st.integers(-(2**200), 2**200) | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**127])
scalars = (
    st.none() | st.booleans() | big | st.floats() | st.complex_numbers() | st.text() | st.sampled_from(DTYPES)
)
numpy_scalars = arrays().filter(lambda array: array.size > 0).map(lambda array: array.reshape(-1)[0])
keys = st.text() | st.integers(-3, 3) | st.sampled_from(["$tensor", "$tuple", "a.b", "0", "__metadata__", ""])
trees = st.recursive(
    scalars | tensors() | arrays() | numpy_scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(trees)
def test_any_tree_comes_back_exactly(tree: Any) -> None:
    assert_same(tree, through_files(tree))


@pytest.mark.parametrize("generator", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_numpy_generators_go_on_where_they_were(generator: Any) -> None:
    source = np.random.Generator(generator(7))
    source.random(5)
    other = np.random.Generator(generator(0))
    other.bit_generator.state = through_files(source.bit_generator.state)
    assert source.random(100).tolist() == other.random(100).tolist()


def test_the_state_of_torchs_generator_comes_back() -> None:
    assert_same(torch.get_rng_state(), through_files(torch.get_rng_state()))


OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.9)),
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01), amsgrad=True, foreach=False),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "muon": lambda p: torch.optim.Muon(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_bitwise_as_if_never_saved(name: str) -> None:
    def begin() -> tuple[torch.Tensor, torch.optim.Optimizer]:
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
        return weight, OPTIMIZERS[name]([weight])

    def go(weight: torch.Tensor, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            weight.grad = torch.sin(weight.detach() * (step + 1))
            optimizer.step()

    one, its = begin()
    go(one, its, range(3))
    other, others = begin()
    with torch.no_grad():
        other.copy_(one)
    saved = its.state_dict()
    assert_same(saved, through_files(saved))
    others.load_state_dict(through_files(saved))
    go(one, its, range(3, 6))
    go(other, others, range(3, 6))
    assert_same(one.detach(), other.detach())
    assert_same(its.state_dict(), others.state_dict())


def test_empty_arrays_come_back_whatever_their_strides() -> None:
    for dtype in ARRAY_DTYPES:
        for array in (np.zeros(0, dtype), np.zeros((3, 0), dtype), np.zeros((0, 3), dtype).T):
            assert_same(array, through_files(array))


def test_shared_strided_and_lazy_tensors_are_saved_by_value() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    z = torch.tensor([1 + 2j, 3 - 4j])
    tree = {
        "tied": [base, base],
        "rows": base[1:],
        "transposed": base.T,
        "expanded": torch.tensor([5.0]).expand(3, 2),
        "conjugate": z.conj(),
        "negated": z.conj().imag,
        "backwards": np.arange(5)[::-1],
        "parameter": torch.nn.Parameter(base.clone()).detach(),
    }
    back = through_files(tree)
    assert_same(tree, back)
    _, tensors = split(tree)
    storages = [tensor.untyped_storage().data_ptr() for tensor in tensors.values()]
    assert len(set(storages)) == len(storages)
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    back["tied"][0][0, 0] = 99
    assert base[0, 0] == 0


def test_what_comes_back_can_be_written_to() -> None:
    back = through_files({"array": np.zeros(3), "tensor": torch.zeros(3)})
    back["array"][0] = 1
    back["tensor"][0] = 1
    assert back["array"].tolist() == back["tensor"].tolist() == [1, 0, 0]


def test_values_alone_are_kept_of_parameters_and_ordered_dicts() -> None:
    layer = torch.nn.Linear(2, 2)
    back = through_files(OrderedDict(layer.named_parameters()))
    assert type(back) is dict
    assert_same({key: value.detach() for key, value in layer.named_parameters()}, back)


def test_tensors_are_named_by_their_place() -> None:
    tree = {"a.b": torch.tensor(1), "a": {"b": torch.tensor(2)}, "list": [{0: torch.tensor(3)}]}
    assert {name: int(value) for name, value in split(tree)[1].items()} == {
        "a.b": 1,
        "a.b'": 2,
        "list.0.0": 3,
    }
    assert list(split({"layers.0.weight": torch.ones(1)})[1]) == ["layers.0.weight"]
    reserved = {"__metadata__": torch.ones(1)}  # a name that safetensors writes and then cannot read
    assert_same(reserved, through_files(reserved))


class Color(enum.IntEnum):
    RED = 1


FOREIGN = {
    "object": object(),
    "set": {1},
    "bytes": b"abc",
    "enum": Color.RED,
    "named tuple": namedtuple("Pair", "a b")(1, 2),
    "text with a lone surrogate": "\ud800",
    "array of objects": np.array([None]),
    "array of text": np.array(["a"]),
    "array of longdouble": np.zeros(2, np.longdouble),
    "array of another byte order": np.zeros(2, np.dtype(np.int32).newbyteorder()),
    "masked array": np.ma.masked_array([1.0]),
    "sparse tensor": torch.eye(2).to_sparse(),
    "meta tensor": torch.empty(2, device="meta"),
    "key of bool": {True: 1},
    "key of float": {0.5: 1},
    "function": print,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_object_is_refused_by_its_place(kind: str) -> None:
    with pytest.raises(TypeError, match=re.escape("groups.1.x: ")):
        split({"groups": [0, {"x": FOREIGN[kind]}]})


@pytest.mark.parametrize("skeleton", [{"$tensor": "absent"}, {"$what": 1}, {"$dtype": "nn"}, {"$float": "x"}])
def test_a_foreign_skeleton_is_refused(skeleton: Any) -> None:
    with pytest.raises((KeyError, ValueError)):
        join({"a": [skeleton]}, {})
