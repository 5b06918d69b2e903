"""From the command to its end: `train specs/speedrun-cpu.toml`, and nanoGPT's `train.py` with its CPU recipe.

    python benchmarks/whole_process.py --text tinyshakespeare.txt --nanogpt nanoGPT

Rounds are interleaved (ABBA) and paired, each process alone, with all that it does as shipped: ours reads and
splits the text, evaluates on all held-out text at its end, saves, counts n-grams (remembered after the first
run), writes a page and a sample. nanoGPT's estimates the loss on 20 random batches of each split every 250
steps and saves the best; its time is that until such an estimate reaches the target, or until its end. Not
counted: its `prepare.py`, which is done here; a first run of ours, in which numba compiles.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SPEC = Path(__file__).parents[1] / "specs" / "speedrun-cpu.toml"
CLONE = "git clone https://github.com/karpathy/nanoGPT"
# fmt: off
RECIPE = {
    "device": "cpu", "compile": False, "eval_iters": 20, "log_interval": 1, "block_size": 64,
    "batch_size": 12, "n_layer": 4, "n_head": 4, "n_embd": 128, "max_iters": 2000,
    "lr_decay_iters": 2000, "dropout": 0.0,
}
# fmt: on
"""The README's, "I only have a macbook" (or a cheap computer)."""


def prepare(data: Path, text: str) -> None:
    """What nanoGPT's `prepare.py` writes, which would download the text."""
    letters = sorted(set(text))
    number = {letter: i for i, letter in enumerate(letters)}
    cut = int(len(text) * 0.9)
    for name, part in (("train", text[:cut]), ("val", text[cut:])):
        np.array([number[letter] for letter in part], dtype=np.uint16).tofile(data / f"{name}.bin")
    meta = {"vocab_size": len(letters), "itos": dict(enumerate(letters)), "stoi": number}
    (data / "meta.pkl").write_bytes(pickle.dumps(meta))


def ours(folder: Path, text: Path) -> tuple[float, float]:
    """Seconds, and the loss reached."""
    run = Path(tempfile.mkdtemp(dir=folder)) / "run"
    command = [sys.executable, "-m", "resnetbk", "train", str(SPEC), "--out", str(run)]
    begin = time.perf_counter()
    subprocess.run([*command, "--set", f"data.corpus.path={text}"], capture_output=True, check=True)
    seconds = time.perf_counter() - begin
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return seconds, next(line["loss"] for line in lines if line["event"] == "finished")


def theirs(nanogpt: Path, target: float) -> tuple[float, float]:
    """Seconds, and the last estimate of the loss."""
    begin, loss = time.perf_counter(), math.inf
    command = [sys.executable, "-u", "train.py", "config/train_shakespeare_char.py"]
    command += [f"--{name}={value}" for name, value in RECIPE.items()]
    with subprocess.Popen(command, cwd=nanogpt, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if estimate := re.match(r"step \d+: .* val loss ([0-9.]+)", line):
                loss = float(estimate[1])
                if loss <= target:
                    seconds = time.perf_counter() - begin
                    process.kill()
                    return seconds, loss
    if process.returncode:
        sys.exit(f"{nanogpt}: train.py ended with exit code {process.returncode}")
    return time.perf_counter() - begin, loss


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", type=Path, required=True, help="tiny Shakespeare, one file")
    parser.add_argument("--nanogpt", type=Path, metavar="DIR", help=f"a checkout: {CLONE}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target", type=float, default=1.88, help="nats/token on held-out text")
    chosen = parser.parse_args()
    if chosen.nanogpt is None or not (chosen.nanogpt / "train.py").is_file():
        parser.error(f"--nanogpt must name a checkout of nanoGPT: {CLONE}")
    with tempfile.TemporaryDirectory() as temporary:
        nanogpt = Path(temporary) / "nanoGPT"  # a copy, so that the checkout stays as it is
        shutil.copytree(chosen.nanogpt, nanogpt, ignore=shutil.ignore_patterns(".git", "out*"))
        prepare(nanogpt / "data" / "shakespeare_char", chosen.text.read_text(encoding="utf-8"))
        text = chosen.text.resolve()
        ours(Path(temporary), text)
        logs = []
        for number in range(chosen.rounds):
            first = number % 2 == 0
            mine = ours(Path(temporary), text) if first else None
            other = theirs(nanogpt, chosen.target)
            mine = mine or ours(Path(temporary), text)
            logs.append(math.log(other[0] / mine[0]))
            print(
                f"round {number + 1}: ours {mine[0]:.1f} s to {mine[1]:.4f}, nanoGPT {other[0]:.1f} s to "
                f"{other[1]:.4f}: {other[0] / mine[0]:.2f}x",
                flush=True,
            )
    mean = math.exp(sum(logs) / len(logs))
    low, high = math.exp(min(logs)), math.exp(max(logs))
    print(f"geometric mean of {len(logs)} rounds: {mean:.2f}x ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
