"""Language models and their trainers, assembled from spec files out of pluggable components.

run = resnetbk.load("specs/quickstart.toml").train()
print(run.evaluate())
print(b"".join(run.generate("The ")).decode(errors="replace"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnetbk.training.experiment import Experiment
    from resnetbk.training.run import Run

__all__ = ["__version__", "load", "open_run"]


def load(spec: Path | str, *, sets: Sequence[str] = (), registry: Sequence[Path | str] = ()) -> Experiment:
    """Reads a spec, ready to train. `sets` are `key=value` overrides, `registry` further manifests.

    Raises `resnetbk.errors.UserError` with every mistake in the file.
    """
    from resnetbk.registry.lookup import Registry
    from resnetbk.spec.read import read
    from resnetbk.training.experiment import Experiment

    found = Registry.discover([Path(path) for path in registry])
    return Experiment(read(spec, found, sets), found)


def open_run(path: Path | str, *, sets: Sequence[str] = (), registry: Sequence[Path | str] = ()) -> Run:
    """The run in a folder that `train` made, at its latest checkpoint, on the CPU.

    `sets` are `key=value` overrides, such as another `data.corpus.path`; `registry` further manifests. Raises
    `resnetbk.errors.UserError` for what is no run, or needs a component that is not installed, and
    `StorageError` for one that is damaged.

    run = resnetbk.open_run("runs/quickstart")
    run.evaluate().loss                   # on the held-out text, in nats/token
    run.losses("The same text.")          # (T - 1,) float32, nats for each token but the first
    run.encode("The same text.")          # (T,) int64
    b"".join(run.generate("The ", 100))   # the bytes of 100 tokens
    """
    from resnetbk.registry.lookup import Registry
    from resnetbk.training.run import Run

    return Run.open(path, Registry.discover([Path(p) for p in registry]), sets)


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("resnetbk")
    raise AttributeError(f"module 'resnetbk' has no attribute {name!r}")
