"""Which backend runs the scans: numba on CPUs, triton on CUDA devices, plain torch without these."""

from __future__ import annotations

import functools
import importlib
import logging
import os
from typing import Any

import torch
from torch import Tensor

from . import torch_scans
from .compiling import tell_of_compiling

_KERNELS = {"cpu": ("numba", ".numba_scans"), "cuda": ("triton", ".triton_scans")}


_launched: dict[str, int] = {}
"""Process in which the loops of a device type were first launched."""


def scans_for(device: str) -> Any:
    """The backend for a device type (functions as in `torch_scans`), chosen and logged at the first call.

    Kernels leave threads behind that a forked process does not have: there they would write nothing, or end
    it. So in a process forked after a launch it is `torch_scans`, with a warning.
    """
    return _chosen(device, os.getpid())


@functools.cache
def _chosen(device: str, process: int) -> Any:
    logger = logging.getLogger("resnetbk")
    if device in _KERNELS:
        name, module = _KERNELS[device]
        if _launched.get(device, process) != process:
            reason = f"this process was forked from one that had run {name}, which does not work in both"
            remedy = "the start method 'spawn' or 'forkserver' keeps it"
            logger.warning("resolvent scans on %s: torch, for %s; %s", device, reason, remedy)
            return torch_scans
        try:
            scans = importlib.import_module(module, __package__)
            if name == "numba":
                tell_of_compiling(scans.kernels)
            _launched[device] = process
            # a trial run: without a C compiler or a threading layer only the first call fails
            scans.one_sided(torch.zeros(1, 1, 1, device=device), torch.ones(1, device=device))
        except ImportError:
            pass
        except Exception as error:
            logger.warning("resolvent scans on %s: %s does not work here: %s", device, name, error)
        else:
            logger.info("resolvent scans on %s: %s", device, name)
            return scans
    logger.info("resolvent scans on %s: torch", device)
    return torch_scans


def forget() -> None:
    """Backends are chosen anew; for tests."""
    _chosen.cache_clear()
    _launched.clear()


def check(potential: Tensor, eta: Tensor, **others: Tensor) -> None:
    """ValueError unless potential and others are (B, N, C), eta (C,), all of one dtype, on one device."""
    shape = tuple(potential.shape)
    if len(shape) != 3 or tuple(eta.shape) != shape[2:]:
        raise ValueError(f"potential must be (B, N, C) and eta (C,), not {shape} and {tuple(eta.shape)}")
    if potential.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"potential must be float32 or float64, not {potential.dtype}: cast it first")
    for name, x in others.items():
        if x.shape != potential.shape:
            raise ValueError(f"{name} must be {shape} like potential, not {tuple(x.shape)}")
    for name, x in {"eta": eta, **others}.items():
        if x.dtype != potential.dtype or x.device != potential.device:
            wanted, actual = f"{potential.dtype} on {potential.device}", f"{x.dtype} on {x.device}"
            raise ValueError(f"{name} must be {wanted} like potential, not {actual}")
