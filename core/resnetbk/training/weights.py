"""Weights from a checkpoint into a model that they must fit."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from resnetbk.errors import StorageError


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Raises StorageError, and loads nothing, unless names and shapes are the model's."""
    own = model.state_dict()
    wrong = sorted(set(own) ^ set(weights))
    wrong += [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if wrong:
        raise StorageError(f"{path}: the checkpoint does not fit its spec: {wrong[0]!r} differs")
    model.load_state_dict(weights)
