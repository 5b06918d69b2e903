from __future__ import annotations

import os
import subprocess
import sys

import pytest

from resnetbk_plugins.kernels.compiling import ALWAYS, ONCE

pytest.importorskip("numba")

RUN = """
import sys
import torch
from resnetbk_plugins.kernels import backend, compiling
compiling.PATIENCE = float(sys.argv[1])
if "uncached" in sys.argv:
    from numba.core import caching
    caching.CacheImpl._locator_classes = []
for _ in range(2):
    g, _ = backend.scans_for("cpu").one_sided(torch.zeros(1, 1, 1), torch.ones(1))
assert g.item() == 0.0
print(backend.scans_for("cpu").__name__)
"""


def run(folder, *arguments):
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder), "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=True)
    assert done.stdout == "resnetbk_plugins.kernels.numba_scans\n"
    return done.stderr


def test_compiling_is_one_line_and_the_second_run_is_silent(tmp_path):
    assert run(tmp_path, "0.01") == ONCE + "\n"
    assert run(tmp_path, "0") == ""  # it compiles nothing


def test_without_a_cache_every_run_says_so(tmp_path):
    assert run(tmp_path, "0.01", "uncached") == ALWAYS + "\n"


def test_what_compiles_at_once_is_no_line_nor_a_cache_folder_that_cannot_be_an_error(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert run(file / "cache", "100") == ""
