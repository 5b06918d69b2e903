"""How fast a resolvent forgets its past, with proof: this determines how long a chunk's run-up must be.

The ratios g_i = 1 / (a_i - g_{i-1}), a_i = v_i - i eta with eta > 0, stay in the upper half plane. With y =
Im g,

    g_i = -1 / (g_{i-1} + i eta - v_i)     is a shift upwards by eta, then an isometry of that half plane,
    |g_i|^2 = y_i / (eta + y_{i-1})        (take imaginary parts), hence 0 < |g_i| <= 1 / eta,
    y_i <= 1 / (eta + y_{i-1})             (the modulus is at least the imaginary part).

**Contraction.** In the hyperbolic metric |dg| / Im g the isometry changes nothing and the shift contracts by
y / (y + eta). Two rows together, with s = y + eta and so y_i <= 1 / s, contract by at most

    (1 - eta / s) / (1 + eta s) <= exp(-2 t),   t = asinh(eta)     (its maximum, at s = exp(t)),

whatever the potential. (A single row gives only 1 / (1 + eta^2), useless for small eta.)

**Ratios.** Start a run-up at 0 instead of the true g, y = Im g. After one row both points are at
hyperbolic distance d with sinh^2(d / 2) = |g|^2 / (4 eta (eta + y)) <= 1 / (4 eta^2), because |g|^2 <= y /
eta. So after h rows, h odd, d <= 2 asinh(1 / (2 eta)) exp(-t (h - 1)), and two points at distance d differ
by 2 sinh(d / 2) sqrt(y y'), about d |g| at most: a *relative* error of d, for every potential.

**Linear scans.** s_i = c_i (x_i + s_{i-1}) with |c_i| = |g_i|^2, in either direction (the adjoint reads
upwards):

    prod_{j=i}^{i+n-1} |g_j|^2  =  y_{i+n-1} / (eta + y_{i-1}) * prod_{j=i}^{i+n-2} y_j / (y_j + eta)
                               <=  exp(-t (n - 1)) / eta^2   for odd n, exp(-t (n - 2)) / eta^2 for even n,

so rows more than h away, h odd, add at most max|x| exp(-t (h - 1)) / (eta^2 (1 - exp(-t))). For
|c_i| = |g_i| take square roots: rate t / 2, 1 / eta.

**A hopping for each row**, g_i = 1 / (a_i - t_i g_{i-1}) with 0 <= t_i <= 1 (see `hopping`), changes none:
multiplication by t is an isometry of the half plane, and every y_{i-1} above becomes t_i y_{i-1}, which is no
larger. The products that count are those of t_j |g_j|^2.

The bounds depend on eta alone, and so do the chunks: the content of a row cannot affect another row through
them, neither an earlier row nor a row of another sequence.
"""

from __future__ import annotations

import math

import torch

# Half a rounding error: scans in chunks and the plain recurrences agree to the last bits.
TOLERANCE = {torch.float32: 2.0**-25, torch.float64: 2.0**-54}


def _rows(factor: float, rate: float, tolerance: float) -> int:
    """The smallest odd h >= 3 with `factor * exp(-rate * (h - 1)) <= tolerance`."""
    return 1 + 2 * max(1, math.ceil(math.log(max(factor / tolerance, 1.0)) / (2 * rate)))


def ratio_run_up(eta: float, dtype: torch.dtype) -> int | None:
    """Rows after which the ratios have forgotten their initial state; None where eta gives no bound."""
    if not 1e-6 < eta < math.inf:
        return None
    return _rows(2 * math.asinh(0.5 / eta), math.asinh(eta), TOLERANCE[dtype])


def linear_run_up(eta: float, dtype: torch.dtype, power: int) -> int | None:
    """The same for s_i = c_i (x_i + s_{i-1}) with |c_i| = |g_i| ** power, power 1 or 2, relative to x."""
    if not 1e-6 < eta < math.inf:
        return None
    rate = math.asinh(eta) * power / 2
    return _rows(1 / (eta**power * -math.expm1(-rate)), rate, TOLERANCE[dtype])
