"""The scans that the mixers share: of the resolvent of a tridiagonal Hamiltonian, of chains of rotations, and
of the diagonal recurrence; and the convolution.

`one_sided`, `two_sided`, `resolvent`, `hopping`, `transfer`, `diagonal` and `convolution` have the torch
operators, their formulas and adjoints; `backend` chooses what runs them: `torch_scans` (every device),
`numba_scans` (CPUs) or `triton_scans` (CUDA). They are parallel over chunks of rows; for the resolvent's,
`forgetting` proves that this is exact to rounding.
Importing this imports torch, so files of components do not; numba and triton are imported at the first call.
"""

from .convolution import causal_convolution
from .diagonal import diagonal
from .hopping import (
    signed_one_sided,
    signed_one_sided_step,
    signed_resolvent,
    signed_resolvent_step,
)
from .one_sided import one_sided, one_sided_step
from .resolvent import resolvent, resolvent_step
from .transfer import transfer, transfer_step
from .two_sided import two_sided

__all__ = [
    "causal_convolution",
    "diagonal",
    "one_sided",
    "one_sided_step",
    "resolvent",
    "resolvent_step",
    "signed_one_sided",
    "signed_one_sided_step",
    "signed_resolvent",
    "signed_resolvent_step",
    "transfer",
    "transfer_step",
    "two_sided",
]
