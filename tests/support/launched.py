"""Programs in several processes, as torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resnetbk.runs.run_folder import RunFolder

needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch has no gloo",
)


def torchrun(folder: Path, *program: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """`torchrun --nproc-per-node 2 ...`, on a free port."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    return subprocess.run(
        [*command, str(processes), *map(str, program)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def metrics(folder: Path, key: str) -> list[float]:
    return [record[key] for record in RunFolder(folder).metrics() if key in record]
