"""The scans in plain torch: any device, parallel over chunks of rows.

Rows are cut into chunks whose length follows from eta alone, all chunks advance together, one row at a time,
and each first re-runs the rows just before its own; how many is proved in `forgetting`. Where that does not
pay (small eta, short sequences) there is one chunk: the plain recurrence. Real tensors come in and go out,
(B, N, C) each, eta (C,); inside they are complex, which takes two torch calls a row.

The adjoints are linear scans s_i = c_i (x_i + s_{i-1}) too; their formulas stand with the ops (`one_sided`,
`two_sided`, `resolvent`). "Up" is from the last row to the first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .forgetting import linear_run_up, ratio_run_up

Pair = tuple[Tensor, Tensor]
Four = tuple[Tensor, Tensor, Tensor, Tensor]
# (this row of each input, the state before it, where the state after it goes)
Step = Callable[[list[Tensor], Tensor, Tensor], None]


def _scan(step: Step, inputs: list[Tensor], run_up: int | None, up: bool) -> Tensor:
    """The states after every row of complex (B, N, C) inputs, from state 0; complex (B, N, C)."""
    batch, length, chains = inputs[0].shape
    if run_up is None or 2 * run_up >= length:
        run_up, rows, chunks = 0, length, 1
    else:
        rows = 2 * run_up
        chunks = -(-length // rows)
    missing = chunks * rows - length
    before, behind = (missing, 0) if up else (0, missing)  # filled up where the scan ends: no result sees it

    def cut(x: Tensor) -> Tensor:
        x = torch.nn.functional.pad(x, (0, 0, before, behind)) if missing else x
        return x.view(batch, chunks, rows, chains).permute(2, 1, 0, 3).contiguous()

    inputs = [cut(x) for x in inputs]
    order = range(rows - 1, -1, -1) if up else range(rows)
    state = inputs[0].new_zeros(chunks, batch, chains)
    if chunks > 1:
        # every chunk but the one where the scan starts takes its first state from its neighbour's last rows
        source, target = (slice(1, None), slice(-1)) if up else (slice(-1), slice(1, None))
        for row in order[rows - run_up :]:
            step([x[row, source] for x in inputs], state[target], state[target])
    result = torch.empty_like(inputs[0])
    for row in order:
        step([x[row] for x in inputs], state, result[row])
        state = result[row]
    result = result.permute(2, 1, 0, 3).reshape(batch, chunks * rows, chains)
    return result[:, before : before + length].contiguous()


def _ratio_step(row: list[Tensor], before: Tensor, after: Tensor) -> None:
    torch.reciprocal(torch.sub(row[0], before, out=after), out=after)


def _linear_step(row: list[Tensor], before: Tensor, after: Tensor) -> None:
    torch.mul(torch.add(row[1], before, out=after), row[0], out=after)


def _smallest(eta: Tensor) -> float:
    return float(eta.min()) if eta.numel() else 1.0


def _ratios(potential: Tensor, eta: Tensor, up: bool = False) -> Tensor:
    a = torch.complex(potential, -eta.expand_as(potential))
    return _scan(_ratio_step, [a], ratio_run_up(_smallest(eta), potential.dtype), up)


def _linear(factor: Tensor, x: Tensor, eta: Tensor, power: int, up: bool = False) -> Tensor:
    """s_i = factor_i (x_i + s_{i-1}), |factor_i| = |g_i| ** power."""
    return _scan(_linear_step, [factor, x], linear_run_up(_smallest(eta), eta.dtype, power), up)


def _later(x: Tensor) -> Tensor:
    """x_{i+1} at row i, 0 at the last."""
    return torch.nn.functional.pad(x[:, 1:], (0, 0, 0, 1)) if x.shape[1] else x


def _earlier(x: Tensor) -> Tensor:
    return torch.nn.functional.pad(x[:, :-1], (0, 0, 1, 0)) if x.shape[1] else x


def _split(x: Tensor) -> Pair:
    # clones, since a tensor of one element is contiguous as it stands and would alias its other half
    return _real(x), x.imag.clone(memory_format=torch.contiguous_format)


def _real(x: Tensor) -> Tensor:
    return x.real.clone(memory_format=torch.contiguous_format)


def _gradients(carried: Tensor) -> Pair:
    """From conj(dL/da) = -carried to the gradients of potential and eta, a = potential - i eta."""
    return -carried.real, carried.imag.sum((0, 1))


def ratio_step(potential: Tensor, eta: Tensor, g_real: Tensor, g_imag: Tensor) -> Pair:
    """One row, 1 / (potential - i eta - g), in real arithmetic: to the bit what the numba loop does."""
    across, down = potential - g_real, eta + g_imag
    inverse = (across * across + down * down).reciprocal()
    return across * inverse, down * inverse


def one_sided(potential: Tensor, eta: Tensor) -> Pair:
    return _split(_ratios(potential, eta))


def one_sided_adjoint(
    eta: Tensor, g_real: Tensor, g_imag: Tensor, out_real: Tensor, out_imag: Tensor
) -> Pair:
    g = torch.complex(g_real, -g_imag)
    return _gradients(_linear(g * g, torch.complex(out_real, out_imag), eta, power=2, up=True))


def two_sided(potential: Tensor, eta: Tensor) -> tuple[Tensor, ...]:
    left, right = _ratios(potential, eta), _ratios(potential, eta, up=True)
    a = torch.complex(potential, -eta.expand_as(potential))
    diagonal = torch.reciprocal(a - _earlier(left) - _later(right))
    return *_split(diagonal), *_split(left), *_split(right)


def two_sided_adjoint(
    eta: Tensor,
    diagonal_real: Tensor,
    diagonal_imag: Tensor,
    left_real: Tensor,
    left_imag: Tensor,
    right_real: Tensor,
    right_imag: Tensor,
    out_real: Tensor,
    out_imag: Tensor,
) -> Pair:
    out = torch.complex(out_real, out_imag)
    left, right = torch.complex(left_real, -left_imag), torch.complex(right_real, -right_imag)
    from_before = _earlier(_linear(left * left, out, eta, power=2))
    from_behind = _later(_linear(right * right, out, eta, power=2, up=True))
    diagonal = torch.complex(diagonal_real, -diagonal_imag)
    return _gradients(diagonal * diagonal * (out + from_before + from_behind))


def resolvent(potential: Tensor, eta: Tensor, u: Tensor) -> Four:
    g = _ratios(potential, eta)
    y = _linear(g, torch.complex(u, torch.zeros_like(u)), eta, power=1)
    return *_split(y), *_split(g)


def resolvent_adjoint(
    eta: Tensor,
    y_real: Tensor,
    y_imag: Tensor,
    g_real: Tensor,
    g_imag: Tensor,
    y_out_real: Tensor,
    y_out_imag: Tensor,
    g_out_real: Tensor,
    g_out_imag: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.complex(g_real, -g_imag)
    back = _linear(g, torch.complex(y_out_real, y_out_imag), eta, power=1, up=True)
    own = torch.complex(y_real, -y_imag) * back
    inflow = torch.complex(g_out_real, g_out_imag) + _later(own)
    return *_gradients(own + _linear(g * g, inflow, eta, power=2, up=True)), _real(back)
