"""The scans of the resolvent of a tridiagonal Hamiltonian, and the convolution, which the mixers share.

`one_sided`, `two_sided`, `resolvent` and `convolution` hold the ops, their formulas and adjoints; `backend`
picks who runs them: `torch_scans` (every device; `forgetting` proves its chunks), `numba_kernels` or
`triton_kernels`.
Importing this imports torch, so only `*_module.py` files do; numba and triton wait for the first call.
"""

from .convolution import causal_convolution
from .one_sided import one_sided, one_sided_step
from .resolvent import resolvent, resolvent_step
from .two_sided import two_sided

__all__ = ["causal_convolution", "one_sided", "one_sided_step", "resolvent", "resolvent_step", "two_sided"]
