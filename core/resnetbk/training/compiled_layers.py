"""Mixers and channel mixers, compiled one by one, where numbers of rows vary from layer to layer and step to
step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.checkpoint import _StopRecomputationError

from resnetbk.exhausted import exhausted
from resnetbk.model.language_model import LanguageModel

SIZES = 32
"""Shapes of rows, of mixers and channel mixers together, that are compiled; others run uncompiled. `Packing`
leaves at most 13 of each at full resolution, of which a run meets half; coarser rows may have any."""


class CompiledLayers:
    """Takes the place of `Layer.run` in all layers of a model: each mixer, and each channel mixer with its
    norm, is one graph, which layers alike share. What packs rows, and what policies do, is not compiled.

    Only training steps are, and not those under a dispatch mode, as where FLOPs are counted, which compute
    the same rows. At the first error all layers run uncompiled from there on, and `failed` is told why; also
    where a channel mixer has penalties, of which spare rows would be a part.
    """

    def __init__(self, model: LanguageModel, failed: Callable[[str | Exception], None]) -> None:
        self._model, self._failed = model, failed
        self._compiled: Any = torch.compile(_called, fullgraph=True, dynamic=False)
        self._shapes: set[tuple[Any, ...]] = set()
        for layer in model.trunk.layers:
            layer.run = self.run

    def run(self, piece: Callable[..., Any], *arguments: Tensor | None) -> Any:
        if not self._compiles(arguments):
            return piece(*arguments)
        try:
            result = self._compiled(piece, *arguments)
        except Exception as error:
            if exhausted(error) or isinstance(error, _StopRecomputationError):  # a recomputed layer is done
                raise
            failure: str | Exception = error
            result = piece(*arguments)  # where the compiler is not to blame, this fails as well
        else:
            if not (isinstance(result, tuple) and result[1]):
                return result
            failure = "its channel mixers have penalties"
        for layer in self._model.trunk.layers:
            del layer.run
        self._failed(failure)
        return result

    def _compiles(self, arguments: tuple[Tensor | None, ...]) -> bool:
        training = self._model.training and torch.is_grad_enabled()
        if not training or _get_current_dispatch_mode() is not None:
            return False
        shape = tuple(each if each is None else each.shape for each in arguments)
        if len(self._shapes) < SIZES:
            self._shapes.add(shape)
        return shape in self._shapes


def _called(piece: Callable[..., Any], *arguments: Any) -> Any:
    return piece(*arguments)
