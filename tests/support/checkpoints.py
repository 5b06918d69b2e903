"""Checkpoints of every sort of content, and damage to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resnetbk.errors import StorageError
from resnetbk.runs.checkpoint import Checkpoint, available, load
from resnetbk.runs.checkpoint_manifest import SCHEMA, identity, sealed, step_of, verify

FILES = ["manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"]


def example(step: int, width: int = 4) -> Checkpoint:
    """A model with a tied head after two AdamW steps, and state of every sort."""
    torch.manual_seed(step)
    table, layer = torch.nn.Embedding(8, width), torch.nn.Linear(width, width)
    head = torch.nn.Linear(width, 8, bias=False)
    head.weight = table.weight
    model = torch.nn.ModuleDict({"table": table, "layer": layer, "head": head})
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(2):
        head(layer(table(torch.arange(8)))).square().sum().backward()
        optimizer.step()
    state = {
        "step": step,
        "best": float("inf"),
        "rng": {"torch": torch.get_rng_state(), "numpy": np.random.PCG64(step).state},
        "selector": {"losses": np.arange(5, dtype=np.float32) * step},
        "tokenizer": {"merges": [[104, 101]]},
    }
    return Checkpoint(model.state_dict(), optimizer.state_dict(), state)


def plain(tree: Any) -> Any:
    """The same tree with tensors and arrays as (kind, type, nested lists), which compare by value."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(plain(value) for value in tree)
    if isinstance(tree, torch.Tensor | np.ndarray):
        return type(tree).__name__, str(tree.dtype), tree.tolist()
    return tree


def fields(saved: Checkpoint) -> Any:
    return plain([saved.model, saved.optimizer, saved.state])


def flip(path: Path, bit: int) -> None:
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def assert_nothing_half_written(run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        assert re.fullmatch(r"\.lock|step-\d{6}", path.name)
        if path.is_dir():
            verify(path)
    assert not list(run.glob(".*"))


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(StorageError) as error:
        load(path, **options)
    text = str(error.value)
    assert "\n" not in text
    return text


def reseal(run: Path) -> None:
    """Makes a run's checkpoints those of the spec.lock.toml that is there now."""
    for path in available(run):
        files = json.loads((path / "manifest.json").read_text())["files"]
        (path / "manifest.json").write_bytes(sealed(SCHEMA, identity(run), step_of(path), files))
