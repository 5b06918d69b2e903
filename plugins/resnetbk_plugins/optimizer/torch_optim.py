"""Optimizer `torch`: the classes of torch.optim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge, in_

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import Optimizer, Weight
from resnetbk_plugins.optimizer.schedule import DECAYS, POSITIVE_SHARE, RATE, SHARE, Decay, Schedule
from resnetbk_plugins.optimizer.torch_classes import NOT_HERE, REFUSED, WHOLE, options

if TYPE_CHECKING:
    from resnetbk_plugins.optimizer.updates import Update


@attrs.frozen(kw_only=True)
class TorchOptimizer:
    """A class of torch.optim for all weights except tables with sparse gradients.

    Any class of the installed torch whose update needs gradients alone: AdamW, NAdam, RAdam, Adafactor, SGD,
    RMSprop and so on. Losses are read at every step, as by optimizers without `found_inf`.

    name          of the class: "AdamW"
    lr            peak learning rate
    options       of the class, by their names in torch: { betas = [0.9, 0.95], fused = true }
    weight_decay  as the class applies it, for matrices and tables; no other role decays
    table_lr      peak learning rate of Adagrad (Duchi et al., 2011) for tables whose gradients are sparse
    warmup        steps over which all learning rates rise linearly
    decay         of all learning rates: "linear", "cosine" (Loshchilov & Hutter, 2016) or "constant"
    decay_share   the share of the run, at its end, over which they decay; never during warmup; below 1 this
                  is warmup-stable-decay (WSD)
    final         the rates at the end of the run, as a share of their peaks
    """

    name: str = attrs.field(default="AdamW")
    lr: float = attrs.field(default=1e-3, validator=RATE)
    options: dict[str, Any] = attrs.field(factory=dict)
    weight_decay: float = attrs.field(default=0.0, validator=ge(0.0))
    table_lr: float = attrs.field(default=0.05, validator=RATE)
    warmup: int = attrs.field(default=0, validator=ge(0))
    decay: Decay = attrs.field(default="linear", validator=in_(DECAYS))
    decay_share: float = attrs.field(default=1.0, validator=POSITIVE_SHARE)
    final: float = attrs.field(default=0.0, validator=SHARE)

    @name.validator
    def _is_a_class(self, field: attrs.Attribute[Any], value: str) -> None:
        if value in REFUSED:
            raise ValueError(f"torch.optim.{value} {REFUSED[value]}")
        if value not in options():
            raise ValueError(f"torch.optim has no {value!r}{nearest(value, options().keys() - REFUSED)}")

    @options.validator
    def _are_of_the_class(self, field: attrs.Attribute[Any], value: dict[str, Any]) -> None:
        known = set(options().get(self.name, ())) - {"weight_decay", *NOT_HERE}
        for key in value if self.name in options() else ():
            if key in ("lr", "weight_decay"):
                raise ValueError(f'{key!r} stands beside name: {{ use = "torch", {key} = {value[key]} }}')
            if key not in known:
                raise ValueError(f"torch.optim.{self.name} has no option {key!r}{nearest(key, known)}")

    @weight_decay.validator
    def _decays(self, field: attrs.Attribute[Any], value: float) -> None:
        if value and "weight_decay" not in options().get(self.name, ("weight_decay",)):
            raise ValueError(f"torch.optim.{self.name} has no weight decay; leave it out")

    def build(self, *, weights: Sequence[Weight]) -> Optimizer:
        """Raises UserError for a class that cannot update distributed weights, where they are."""
        from resnetbk_plugins.optimizer.torch_optim_module import TorchUpdate
        from resnetbk_plugins.optimizer.updates import AdagradUpdate, ScheduledUpdates

        if self.name in WHOLE and any(hasattr(weight.parameter, "full_tensor") for weight in weights):
            raise UserError(
                f"train.optimizer: torch.optim.{self.name} cannot update weights that are distributed among "
                'processes; give train.parallel = "average", or another class'
            )
        updates: dict[str, Update] = {
            "torch": TorchUpdate(self.name, weights, self.lr, self.weight_decay, self.options),
            "adagrad": AdagradUpdate(self.table_lr),
        }
        schedule = Schedule(self.warmup, self.decay, self.decay_share, self.final)
        return ScheduledUpdates(weights, updates, schedule, self.lr, lambda weight: "torch", guarded=False)
