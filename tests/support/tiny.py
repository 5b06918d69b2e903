"""Specs small enough to train in a test, of first-party components."""

from __future__ import annotations

import shutil
from pathlib import Path

import resnetbk
from resnetbk.runs import checkpoint
from resnetbk.training.experiment import Experiment

SENTENCE = "the quick brown fox jumps over the lazy dog, and then it sleeps. "
HASHED = 'embedding = { use = "ngram-hash", order = 3 }'


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
        "precision": 'precision = "fp32"',
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


def mixers(folder: Path) -> list[str]:
    """Two specs of two steps, `tiny` and `attn`, that differ in their mixer."""
    first = write_spec(folder, steps="steps = 2")
    second = folder / "second.toml"
    text = first.read_text().replace('name = "tiny"', 'name = "attn"')
    second.write_text(text.replace('{ use = "bk-causal", chains = 8 }', '{ use = "attention", heads = 2 }'))
    return [str(first), str(second)]


def embeddings(folder: Path) -> tuple[Path, Path]:
    """Two specs of twenty small steps, `a` and `b`, that differ in their embedding."""
    small = {"width": "width = 8", "depth": "depth = 1", "batch": "batch = 2", "steps": "steps = 20"}
    text = write_spec(folder, **small, optimizer="optimizer = { lr = 0.02 }").read_text()
    a, b = folder / "a.toml", folder / "b.toml"
    a.write_text(text.replace('"tiny"', '"a"'))
    hashed = '[model]\nembedding = { use = "ngram-hash", order = 2, rows = 512 }'
    b.write_text(text.replace('"tiny"', '"b"').replace("[model]", hashed))
    return a, b


def stopped(whole: Path, stop: int, folder: Path) -> Path:
    """A copy of the run `whole`, which saved at every step, as if it had ended after step `stop`."""
    shutil.copytree(whole, folder)
    for path in checkpoint.available(folder):
        if path.name > checkpoint.name(stop):
            shutil.rmtree(path)
    (folder / "LATEST").write_text(checkpoint.name(stop) + "\n")
    return folder


def copy_run(original: Path, target: Path, drop: str = "") -> Path:
    """A copy of a run folder, without the checkpoint called `drop`."""
    shutil.copytree(original, target)
    if drop:
        shutil.rmtree(target / "checkpoints" / drop)
    return target
