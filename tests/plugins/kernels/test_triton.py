"""The triton kernels where there is no GPU: their values in triton's interpreter, and that they compile."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


@pytest.mark.skipif(torch.__version__ < "2.12", reason="the interpreter of triton 3.6 fails with numpy 2.4")
def test_the_kernels_are_right_in_the_interpreter():
    """In a process of their own: it counts what the environment has when triton is first imported."""
    file = Path(__file__).with_name("triton_interpreted.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(done.stdout.split()[0]) == {"."}  # none skipped


# Kernel, arguments that are None, flags
_LINEAR = {"POWER": 2, "CONJUGATE": True, "UP": True, "ROWS": 64, "BLOCK": 128}
_OWN, _TWO_SIDED = ("y_re", "y_im", "w_re", "w_im"), ("d_re", "d_im", "a_re", "a_im")
_VARIANTS = [
    ("ratios", "ratio_products", (), {"UP": False, "ROWS": 64, "BLOCK": 128}),
    ("ratios", "ratio_products", ("hop",), {"UP": True, "ROWS": 64, "BLOCK": 128}),
    ("ratios", "ratio_scan", ("left_re", "left_im", "d_re", "d_im"), {"UP": False, "ROWS": 64, "BLOCK": 128}),
    ("ratios", "ratio_scan", ("hop",), {"UP": True, "ROWS": 64, "BLOCK": 128}),
    ("linear", "linear_products", (), _LINEAR),
    ("linear", "linear_scan", _OWN, _LINEAR | {"GRADIENT": True}),
    ("linear", "linear_scan", (*_TWO_SIDED, "x_im"), _LINEAR | {"POWER": 1, "UP": False, "GRADIENT": False}),
    ("diagonal", "diagonal_products", (), {"UP": True, "ROWS": 64, "BLOCK": 128}),
    ("diagonal", "diagonal_scan", (), {"UP": True, "ROWS": 64, "BLOCK": 128}),
    ("diagonal", "diagonal_scan", ("after", "h"), {"UP": False, "ROWS": 64, "BLOCK": 128}),
    ("transfer", "transfer_products", (), {"ADJOINT": True, "ROWS": 64, "BLOCK": 128}),
    ("transfer", "transfer_products", ("f",), {"ADJOINT": False, "ROWS": 64, "BLOCK": 128}),
    ("transfer", "transfer_scan", (), {"ROWS": 64, "BLOCK": 128}),
    ("transfer", "transfer_scan", ("f", "between"), {"ROWS": 64, "BLOCK": 128}),
    ("transfer", "transfer_adjoint", (), {"ROWS": 64, "BLOCK": 128}),
    ("convolution", "convolution", (), {"SIZE": 4, "TAPS": 4, "ROWS": 64, "BLOCK": 128}),
    ("convolution", "convolution_adjoint", (), {"SIZE": 3, "TAPS": 4, "ROWS": 64, "BLOCK": 128}),
]
_COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from resnetbk_plugins.kernels import triton_convolution, triton_diagonal, triton_linear
from resnetbk_plugins.kernels import triton_ratios, triton_transfer
for module, name, absent, flags in eval(sys.stdin.read()):
    kernel = getattr(sys.modules["resnetbk_plugins.kernels.triton_" + module], name)
    constants = flags | dict.fromkeys(absent)
    kinds = {"length": "i32", "chains": "i32", "channels": "i32"} | dict.fromkeys(constants, "constexpr")
    signature = {x: kinds.get(x, "*fp32") for x in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    options = {"num_warps": 1, "enable_fp_fusion": True}
    print(name, "cubin" in triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options).asm)
"""


def test_the_kernels_compile_for_a_gpu(tmp_path):
    """The interpreter takes what the compiler refuses, such as a name that changes its type."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, "-c", _COMPILE]
    done = subprocess.run(command, input=repr(_VARIANTS), env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} True" for _, name, *_ in _VARIANTS]
