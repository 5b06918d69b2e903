"""Mixers at equal steps and at equal time: python benchmarks/quality.py tinyshakespeare.txt

Characters, 4 layers, width 128, window 64, batch 12, Muon; several seeds, the mixers in turn within each.
Equal time: every mixer gets the seconds that attention took for its steps. Each result is appended to
runs/quality.jsonl, so that an interrupted run goes on where it was; prints means with 95 % intervals
(Student's t over seeds).
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from pathlib import Path

import resnetbk

STEPS, SEEDS = 400, 5
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Student's t for 95 %, by the number of seeds."""

SPEC = """
name = "quality"
[data]
corpus = { use = "text", path = "PATH" }
tokenizer = "chars"
window = 64
[model]
width = 128
depth = 4
mixer = MIXER
[train]
BUDGET
batch = 12
optimizer = { use = "muon", lr = 0.02 }
observe = []
"""
MIXERS = {
    "attention": '"attention"',
    "attention, convolution": '{ use = "attention", convolution = 4 }',
    "gated-linear": '"gated-linear"',
    "gated-linear, no convolution": '{ use = "gated-linear", convolution = 0 }',
    "bk-causal": '"bk-causal"',
    "bk-causal, no convolution": '{ use = "bk-causal", convolution = 0 }',
    "bk-resolvent": '"bk-resolvent"',
    "bk-resolvent, no convolution": '{ use = "bk-resolvent", convolution = 0 }',
}
RESULTS = Path("runs/quality.jsonl")


def train(corpus: str, mixer: str, budget: str, seed: int) -> dict[str, float]:
    text = SPEC.replace("PATH", corpus).replace("MIXER", MIXERS[mixer]).replace("BUDGET", budget)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.toml"
        path.write_text(text)
        report = resnetbk.load(path, sets=[f"seed={seed}"]).train(Path(folder) / "run").report
    assert report is not None
    return {
        "loss": report.loss,
        "seconds": report.seconds,
        "steps": report.steps,
        "parameters": report.parameters,
    }


def interval(values: list[float]) -> str:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    half = T95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.4f} ± {half:.4f}"


def main(corpus: str) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    known = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []

    def once(mixer: str, kind: str, budget: str, seed: int) -> dict[str, float]:
        key = {"mixer": mixer, "budget": kind, "seed": seed}
        for row in known:
            if all(row[name] == value for name, value in key.items()):
                return row
        row = {**key, **train(corpus, mixer, budget, seed)}
        known.append(row)
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{mixer:30} {kind:6} seed {seed}  {row['loss']:.4f}  {row['seconds']:.1f} s", flush=True)
        return row

    for seed in range(SEEDS):
        seconds = once("attention", "steps", f"steps = {STEPS}", seed)["seconds"]
        for mixer in MIXERS:
            once(mixer, "steps", f"steps = {STEPS}", seed)
            once(mixer, "time", f"seconds = {seconds}", seed)
    print(f"\n{'mixer':30} {'parameters':>10}  {f'loss, {STEPS} steps':20} {'loss, equal time':20}")
    for mixer in MIXERS:
        rows = [row for row in known if row["mixer"] == mixer]
        losses = {kind: [r["loss"] for r in rows if r["budget"] == kind] for kind in ("steps", "time")}
        parameters = rows[0]["parameters"]
        print(f"{mixer:30} {parameters:10,}  {interval(losses['steps']):20} {interval(losses['time']):20}")


if __name__ == "__main__":
    main(sys.argv[1])
