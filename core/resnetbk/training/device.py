"""Where a training runs, in which precision, and where its random numbers are."""

from __future__ import annotations

import logging
import timeit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor

from resnetbk.errors import UserError

_HERE: ContextVar[torch.device | None] = ContextVar("device", default=None)


@contextmanager
def at(device: torch.device) -> Iterator[None]:
    """Within it, `find_device` gives this device when it is asked for none."""
    token = _HERE.set(device)
    try:
        yield
    finally:
        _HERE.reset(token)


def find_device(asked: str | None = None) -> torch.device:
    """`cpu`, `cuda`, `cuda:N` or `mps` as asked; without that, the device of `at`, else cuda if available. A
    CUDA device with a number becomes the current one, by which custom kernels go. Raises UserError for a
    device that is not there."""
    if not asked and (here := _HERE.get()):
        return here
    there = torch.cuda.is_available()
    device = torch.device(asked or ("cuda" if there else "cpu"))
    if device.type == "cuda" and not there:
        raise UserError("there is no CUDA device here; leave --device out, or say cpu")
    if device.type == "cuda" and device.index is not None:
        count = torch.cuda.device_count()  # of those in CUDA_VISIBLE_DEVICES
        if device.index >= count:
            raise UserError(f"there is no {device} here; the last one is cuda:{count - 1}")
        torch.cuda.set_device(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("there is no MPS device here; leave --device out, or say cpu")
    return device


def has_bf16_units(device: torch.device) -> bool:
    """Whether it has units for matrix products in bf16: CUDA from compute capability 8.0, CPUs with AMX or
    AVX-512 BF16, as far as the installed torch tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(features.get("amx_bf16") or features.get("avx512_bf16"))


def precision_on(device: torch.device, asked: str) -> str:
    """`train.precision` as it is on a device: "bf16" or "fp32", which "auto" chooses by `has_bf16_units`."""
    return ("bf16" if has_bf16_units(device) else "fp32") if asked == "auto" else asked


@cache
def bf16_speed(device: torch.device) -> float:
    """How many times as fast as in fp32 a matrix product is in bf16, measured on 512 rows of 256 numbers."""

    def seconds(dtype: torch.dtype) -> float:
        rows, weight = (torch.ones(n, 256, dtype=dtype, device=device) for n in (512, 1024))
        return min(timeit.repeat(lambda: float((rows @ weight.mT)[0, 0]), number=1, repeat=4))

    return seconds(torch.float32) / seconds(torch.bfloat16)


def tell_if_slow(device: torch.device, asked: str) -> None:
    """One warning where bf16 is asked for, and slower than fp32."""
    if asked == "bf16" and not has_bf16_units(device) and (speed := bf16_speed(device)) < 1:
        message = 'train.precision: bf16 runs at %.2g times the speed of fp32 here; "auto" takes fp32'
        logging.getLogger("resnetbk").warning(message, speed)


def generators(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's random number generators, by type of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "mps":
        return states | {"mps": torch.mps.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_generators(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Goes on from `generators`, as far as they are of this type of device."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


@contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """What is drawn at random after it is what would have been drawn without it."""
    states = generators(device)
    try:
        yield
    finally:
        set_generators(states, device)
