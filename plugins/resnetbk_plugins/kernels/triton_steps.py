# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
"""What the triton kernels share: which rows a program processes, and the arithmetic of one row.

The scans are parallel in N: one program is one sequence, one chunk of ROWS rows (boundaries at multiples of
ROWS, whatever the length) and one block of chains. It gets the state before its chunk in one of two ways, and
every program of a block of chains decides alike, on the device, from the smallest eta of the block alone:

- the *run-up*: where that eta forgets within ROWS rows, to half a rounding error (proof in `forgetting`), it
  starts that many rows early from state 0;
- the *products*: elsewhere a first kernel has computed what each whole chunk does to a state (a product of
  2x2 transfer matrices for ratios, s -> F s + S for linear scans), and the program applies the products of
  the chunks before its own. Those of a run-up suffice; where eta gives no bound it is all of them.

So a row's bits depend on earlier rows (later ones in a scan upwards) of its own sequence only. What is not
finite makes the rest of its chunk not finite, and chunks after it as far as it is remembered.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def chunk(length, chains, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """(sequence, chunk, first row, row after the last, chains, which of them exist)."""
    chunks = tl.cdiv(length, ROWS)
    b, k = tl.program_id(0) // chunks, tl.program_id(0) % chunks
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    return b.to(tl.int64), k, k * ROWS, tl.minimum(k * ROWS + ROWS, length), c, c < chains


@triton.jit
def run_up(eta, POWER: tl.constexpr):
    """Rows after which the state before them is forgotten, as in `forgetting`, inf where eta gives no bound.

    POWER 0 is for ratios, 1 and 2 for linear scans with that power of the ratio as factor.
    """
    e = tl.min(eta).to(tl.float32)
    # asinh; below 0.1 a lower bound, since the logarithm is too coarse
    rate = tl.where(e < 0.1, e - e * e * e / 6, tl.log(e + tl.sqrt(e * e + 1)))
    if POWER == 0:
        half = 0.5 / e
        factor = 2 * tl.log(half + tl.sqrt(half * half + 1))
    else:
        rate = rate * (0.5 * POWER)
        factor = (1 + rate) / (e * rate)  # rate / (1 + rate) <= 1 - exp(-rate)
        if POWER == 2:
            factor = factor / e
    digits = 54 if eta.dtype == tl.float64 else 25
    pairs = tl.maximum(tl.ceil((tl.log(factor) + 0.6931472 * digits) / (2 * rate)), 1)
    return tl.where(e > 1e-6, 1 + 2 * pairs, float("inf"))


@triton.jit
def chunks_before(rows, k, ROWS: tl.constexpr):
    """How many of the k chunks before hold the `rows` of a run-up, all k where they are fewer."""
    return tl.where(rows < k * ROWS, tl.ceil(rows / ROWS), k).to(tl.int32)


@triton.jit
def ratio(v, e, re, im):
    """1 / (v - i e - (re + i im))."""
    x, y = v - re, e + im
    inverse = 1.0 / (x * x + y * y)
    return x * inverse, y * inverse


@triton.jit
def times(re, im, x, y):
    """(re + i im) (x + i y)."""
    return re * x - im * y, re * y + im * x


@triton.jit
def larger(re, im):
    return tl.maximum(tl.abs(re), tl.abs(im))
