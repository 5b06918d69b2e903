"""Every kernel test runs once for each kernel that works here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from resnetbk_plugins.kernels import backend


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    """However many the rest of the tests have: kernels share their rows among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["torch", "numba", "triton"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device of the kernel under test."""
    kernel = request.param
    if kernel != "torch" and importlib.util.find_spec(kernel) is None:
        pytest.skip(f"{kernel} is not installed")
    if kernel == "triton" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with pytest.MonkeyPatch.context() as patch:
        if kernel == "torch":
            patch.setattr(backend, "_KERNELS", {})
        backend.forget()
        yield "cuda" if kernel == "triton" else "cpu"
    backend.forget()


@pytest.fixture(scope="session")
def dense() -> Callable[..., Tensor]:
    """H - z as a matrix, from one chain's potential (N,) and its eta."""

    def build(potential: Tensor, eta: Tensor, hopping: float = 1.0) -> Tensor:
        potential, eta = potential.cpu(), eta.cpu()
        off = torch.full((len(potential) - 1,), hopping, dtype=potential.dtype)
        return torch.diag(torch.complex(potential, -eta.expand_as(potential))) + (
            torch.diag(off, 1) + torch.diag(off, -1)
        )

    return build
