"""The objective of a training step, compiled: as a whole, or else layer by layer."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from resnetbk.errors import one_line
from resnetbk.exhausted import exhausted
from resnetbk.kinds import BatchLoss
from resnetbk.model.language_model import LanguageModel, Output
from resnetbk.spec.spec import Train
from resnetbk.training.compiled_layers import CompiledLayers
from resnetbk.training.objective import objective

SMALL = 30_000_000
"""Parameters up to which launching kernels takes longer than what they do, so that CUDA graphs pay."""

VARIANTS = 64
"""Models, shapes of batches, and whether there are gradients: what one process compiles at most."""

LONG = 1000, 120.0
"""Steps and seconds of training from which on "auto" compiles: that takes half a minute, or a whole one."""

UNTRACEABLE = ("Unsupported", "UserError", "UncapturedHigherOrderOpError", "GuardOnDataDependentSymNode")
"""What torch raises where a model's shapes, or what it does next, depend on numbers in tensors."""


def to_compile(train: Train, device: torch.device) -> bool | str:
    """`train.compile`. "auto" becomes False on CPUs, and where a limit of the training, in steps or seconds,
    is below LONG."""
    limits = (train.steps, LONG[0]), (train.seconds, LONG[1])
    long = all(limit is None or limit >= least for limit, least in limits)
    return train.compile if train.compile != "auto" or (long and device.type == "cuda") else False


class CompiledObjective:
    """`objective`, compiled if `asked`. With "auto" it is no warning that a model cannot be compiled.

    Models whose rows vary (halting, gates, learned resolution) cannot be compiled whole: their layers are, if
    that is `asked` for, on few numbers of rows; with "auto" they run uncompiled. One line in the log says so,
    and one that a compiler is missing or fails, at whichever call. Results differ by rounding, and by what is
    drawn at random. Under a dispatch mode, as where FLOPs are counted, all runs uncompiled, on the same rows.
    Models alike share compiled code.
    """

    def __init__(self, asked: bool | str, model: LanguageModel, device: torch.device) -> None:
        self.asked = asked
        self.active = bool(asked)
        self._model = model
        model.trunk.few_sizes = asked is True  # from the first step on, counted or not
        self._graphs = self.active and device.type == "cuda" and model.parameter_count() <= SMALL
        self._function: Any = None
        for parameter in model.parameters() if self._graphs else ():
            if parameter.requires_grad:  # the next replay overwrites gradients, which strategies may keep
                parameter.register_hook(Tensor.clone)  # type: ignore[no-untyped-call]

    def __call__(self, *arguments: Any) -> tuple[BatchLoss, Output]:
        """What `objective` gives. With CUDA graphs its `Output` is valid until the next call."""
        if not self.active or _get_current_dispatch_mode() is not None:
            return objective(*arguments)
        try:
            return self._compiled(*arguments)
        except Exception as error:
            if exhausted(error) or self._function is objective:  # its layers tell of what fails in them
                raise
            failure = error
        if self.asked is True and type(failure).__name__ in UNTRACEABLE:
            logging.getLogger("resnetbk").info("train.compile: layer by layer, since %s", _reason(failure))
            self._function, self._graphs = objective, False
            CompiledLayers(self._model, self._stop)
            return self(*arguments)
        result = objective(*arguments)  # where the compiler is not to blame, this fails as well
        self._stop(failure)
        return result

    def _stop(self, failure: str | Exception) -> None:
        self.active = self._model.trunk.few_sizes = False
        untraceable = type(failure).__name__ in UNTRACEABLE
        level = logging.INFO if untraceable and self.asked == "auto" else logging.WARNING
        logging.getLogger("resnetbk").log(level, "train.compile: uncompiled, since %s", _reason(failure))

    def _compiled(self, *arguments: Any) -> tuple[BatchLoss, Output]:
        import torch._dynamo.config  # here, since it takes more than a second
        import torch._functorch.config

        if self._function is None:
            logging.getLogger("resnetbk").info("train.compile: the first step of each shape compiles")
            mode = "reduce-overhead" if self._graphs else None
            # not dynamic: code for a shape must not depend on those before, or a resumed run would differ
            self._function = torch.compile(objective, fullgraph=True, dynamic=False, mode=mode)
        with (
            torch._dynamo.config.patch(recompile_limit=VARIANTS, skip_nnmodule_hook_guards=False),
            # then it fails here or not at all
            torch._functorch.config.patch(force_non_lazy_backward_lowering=True),
        ):
            result, output = self._function(*arguments)
        if self._graphs:  # the next replay overwrites these
            names = ("loss", "cross_entropy", "window_losses")
            single = {name: getattr(result, name).clone() for name in names}
            penalties = {name: value.clone() for name, value in result.penalties.items()}
            result = attrs.evolve(result, **single, penalties=penalties)
        return result, output


def _reason(failure: str | Exception) -> str:
    if isinstance(failure, str):
        return failure
    untraceable = type(failure).__name__ in UNTRACEABLE
    what = "this model cannot be compiled as a whole" if untraceable else "the compiler fails"
    return f"{what}: {one_line(failure).split(' Set TORCH')[0]}"  # without its advice to developers
