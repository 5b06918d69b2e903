"""The job that docs/cluster.md gives for SLURM, run as it stands there, with a fake `srun` and `scontrol`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

import resnetbk
from resnetbk.runs.run_folder import RunFolder

pytestmark = pytest.mark.skipif(
    sys.platform == "win32"
    or not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch has no gloo",
)

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def job(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The documented script, as the job of two tasks that a queue starts in `folder`."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (script,) = (block for block in BLOCK.findall(page) if "--auto-resume" in block)
    (folder / "job.sh").write_text(script)
    commands = [ROOT / "tests" / "support" / "slurm", Path(sys.executable).parent]
    path = os.pathsep.join([*map(str, commands), os.environ["PATH"]])
    of_job = {"SLURM_JOB_ID": str(free_port() - 20000), "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "here"}
    return subprocess.run(
        ["bash", "job.sh"],
        cwd=folder,
        env={
            **os.environ, **of_job, **environment, "PATH": path, "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip


def free_port() -> int:
    """Of those that the script may choose."""
    for port in range(20000 + os.getpid() % 5000, 30000):
        with socket.socket() as server:
            if server.connect_ex(("127.0.0.1", port)):
                return port
    raise OSError("no free port")


def test_a_job_saves_before_its_time_is_up_and_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    steps = 200
    spec = tiny.write_spec(
        tmp_path,
        steps=f"steps = {steps}",
        more="save = 5",
        optimizer='optimizer = { use = "adamw", lr = 0.001 }',
    )
    resnetbk.load(spec).train(tmp_path / "alone", device="cpu")
    spec.rename(tmp_path / "A.toml")
    first = job(tmp_path, SIGNAL="USR1", SIGNAL_AFTER="runs/A/checkpoints/step-000005")
    assert first.returncode == 138, first.stderr
    assert re.fullmatch(r"\d+\n", (tmp_path / "requeued").read_text())
    told = re.findall(r"^interrupted after step (\d+), which is saved", first.stderr, re.MULTILINE)
    assert len(told) == 2  # a line of each process
    (saved,) = set(told)
    assert 5 <= int(saved) < steps
    assert "Traceback" not in first.stderr

    again = job(tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"{steps} steps" in again.stdout
    assert len((tmp_path / "requeued").read_text().split()) == 1
    alone, both = (
        [record for record in RunFolder(tmp_path / name).metrics() if record["event"] == "step"]
        for name in ("alone", "runs/A")
    )
    assert [record["step"] for record in both] == [*range(1, steps + 1)]
    assert [r["loss"] for r in both] == pytest.approx([r["loss"] for r in alone], rel=1e-3)
