"""Specs small enough to train in a test, of first-party components."""

from __future__ import annotations

import shutil
from pathlib import Path

import resnetbk
from resnetbk.training.experiment import Experiment

SENTENCE = "the quick brown fox jumps over the lazy dog, and then it sleeps. "


def corpus(folder: Path) -> Path:
    """A text file of some kilobytes."""
    path = folder / "corpus.txt"
    path.write_text("\n".join(f"{i}: {SENTENCE}" for i in range(120)))
    return path


def write_spec(folder: Path, **changes: str) -> Path:
    """A spec file in `folder`; `changes` replace the lines that set those keys."""
    lines = {
        "name": 'name = "tiny"',
        "data": "[data]",
        "corpus": f'corpus = {{ use = "text", path = "{corpus(folder)}" }}',
        "window": "window = 16",
        "selector": "",
        "model": "[model]",
        "width": "width = 16",
        "depth": "depth = 2",
        "mixer": 'mixer = { use = "bk-causal", chains = 8 }',
        "embedding": "",
        "channel": "",
        "train": "[train]",
        "steps": "steps = 8",
        "batch": "batch = 4",
        "optimizer": 'optimizer = "muon"',
        "more": "",
        "observe": 'observe = ["jsonl"]',
    }
    unknown = set(changes) - set(lines)
    assert not unknown, unknown
    path = folder / "tiny.toml"
    path.write_text("\n".join({**lines, **changes}.values()) + "\n")
    return path


def experiment(folder: Path, **changes: str) -> Experiment:
    return resnetbk.load(write_spec(folder, **changes))


def copy_run(source: Path, target: Path, drop: str = "") -> Path:
    """A copy of a run folder, without the checkpoint called `drop`."""
    shutil.copytree(source, target)
    if drop:
        shutil.rmtree(target / "checkpoints" / drop)
    return target
