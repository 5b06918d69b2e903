"""Weights from a checkpoint into a model that they must fit."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from resnetbk.errors import StorageError, shortened


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Raises StorageError unless names and shapes are the model's."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StorageError(
            f"{path}: the checkpoint does not fit its spec ({shortened(str(error))})"
        ) from error
