from __future__ import annotations

import math
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetbk_plugins.kernels import torch_scans
from resnetbk_plugins.kernels.forgetting import linear_run_up, ratio_run_up

EXAMPLES = settings(max_examples=200 if os.environ.get("CI") else 50, deadline=None)
ETA = st.floats(0.01, 5.0)
# potentials that forget as slowly as they can: each row meets the real part of the ratio before it
ADVERSARIAL = -1.0


def ratios(
    start: complex, eta: float, potential: list[float], disorder: float
) -> tuple[list[complex], list[float]]:
    """g row by row from `start`, and the potential used."""
    rows, used, g = [], [], start
    for v in potential:
        used.append(g.real if disorder == ADVERSARIAL else disorder * v)
        g = 1 / (complex(used[-1], -eta) - g)
        rows.append(g)
    return rows, used


@EXAMPLES
@given(
    eta=ETA,
    disorder=st.sampled_from([ADVERSARIAL, 0.0, 0.5, 2.0, 20.0]),
    potential=st.lists(st.floats(-1, 1), min_size=3, max_size=199),
    before=st.floats(-3, 3),
)
def test_the_ratios_forget_their_start_as_fast_as_promised(eta, disorder, potential, before):
    start = 1 / (complex(before, -eta) - 1 / complex(before, -eta))
    true, used = ratios(start, eta, potential, disorder)
    restarted, _ = ratios(0j, eta, used, 1.0)
    for h in range(1, len(true) + 1, 2):
        distance = 2 * math.asinh(0.5 / eta) * math.exp(-math.asinh(eta) * (h - 1))
        allowed = 2 * math.sinh(distance / 2) * math.sqrt(true[h - 1].imag * restarted[h - 1].imag)
        assert abs(true[h - 1] - restarted[h - 1]) <= allowed * (1 + 1e-9) + 1e-12 / eta


@EXAMPLES
@given(
    eta=ETA,
    disorder=st.sampled_from([ADVERSARIAL, 0.0, 0.5, 2.0, 20.0]),
    potential=st.lists(st.floats(-1, 1), min_size=3, max_size=199),
)
def test_the_products_of_ratios_shrink_as_fast_as_promised(eta, disorder, potential):
    rows, _ = ratios(0j, eta, potential, disorder)
    product = 1.0
    for n, g in enumerate(rows, 1):
        product *= abs(g) ** 2
        exponent = n - 1 if n % 2 else n - 2
        assert product <= math.exp(-math.asinh(eta) * exponent) / eta**2 * (1 + 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_run_ups_grow_as_eta_shrinks_and_eta_that_promises_nothing_has_none(dtype):
    for run_up in (ratio_run_up, lambda e, d: linear_run_up(e, d, 1), lambda e, d: linear_run_up(e, d, 2)):
        rows = [run_up(eta, dtype) for eta in (10.0, 1.0, 0.5, 0.1, 0.01)]
        assert rows == sorted(rows)
        assert all(h % 2 for h in rows)
        assert [run_up(eta, dtype) for eta in (0.0, -1.0, math.nan, math.inf)] == [None] * 4
    assert ratio_run_up(0.5, torch.float32) < 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eta", [1.0, 0.1, 0.02, 0.01])
@pytest.mark.parametrize("length", [33, 1031, 4095])
def test_chunks_give_what_one_chunk_gives(monkeypatch, dtype, eta, length):
    generator = torch.Generator().manual_seed(length)
    potential, u, *out = (torch.randn(2, length, 3, generator=generator, dtype=dtype) for _ in range(6))
    potential[:, :, 0] = 0.0  # forgets about as slowly as the bound allows
    eta = torch.tensor([eta, 2 * eta, 1.0], dtype=dtype)

    def everything() -> list[torch.Tensor]:
        g = torch_scans.one_sided(potential, eta)
        diagonal = torch_scans.two_sided(potential, eta)
        y = torch_scans.resolvent(potential, eta, u)
        return [
            *g,
            *diagonal,
            *y,
            *torch_scans.one_sided_adjoint(eta, *g, *out[:2]),
            *torch_scans.two_sided_adjoint(eta, *diagonal, *out[:2]),
            *torch_scans.resolvent_adjoint(eta, *y, *out),
        ]

    chunked = everything()
    monkeypatch.setattr(torch_scans, "ratio_run_up", lambda *_: None)
    monkeypatch.setattr(torch_scans, "linear_run_up", lambda *_, **__: None)
    for a, b in zip(chunked, everything(), strict=True):
        roundings = 100 if a.dim() == 3 else 100 * length**0.5  # the gradient of eta is a sum over rows
        assert (a - b).abs().max() <= roundings * torch.finfo(dtype).eps * b.abs().max()
