"""Optimizer `adamw`: Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import deep_iterable, ge, gt, in_

from resnetbk.kinds import Optimizer, Weight
from resnetbk_plugins.optimizer.schedule import (
    DECAY_RATE,
    DECAYS,
    POSITIVE_SHARE,
    RATE,
    SHARE,
    Decay,
    Schedule,
)

if TYPE_CHECKING:
    from resnetbk_plugins.optimizer.updates import Update


@attrs.frozen(kw_only=True)
class AdamW:
    """AdamW (Loshchilov & Hutter, 2017) for all weights except tables with sparse gradients.

    lr            peak learning rate
    betas         decay rates of the two moments
    eps           added to the square root of the second moment
    weight_decay  times the learning rate, for matrices and tables; no other role decays
    table_lr      peak learning rate of Adagrad (Duchi et al., 2011) for tables whose gradients are sparse
    warmup        steps over which all learning rates rise linearly
    decay         of all learning rates: "linear", "cosine" (Loshchilov & Hutter, 2016) or "constant"
    decay_share   the share of the run, at its end, over which they decay; never during warmup; below 1 this
                  is warmup-stable-decay (WSD)
    final         the rates at the end of the run, as a share of their peaks
    """

    lr: float = attrs.field(default=3e-3, validator=RATE)
    betas: tuple[float, float] = attrs.field(default=(0.9, 0.95), validator=deep_iterable(DECAY_RATE))
    eps: float = attrs.field(default=1e-8, validator=gt(0.0))
    weight_decay: float = attrs.field(default=0.0, validator=ge(0.0))
    table_lr: float = attrs.field(default=0.05, validator=RATE)
    warmup: int = attrs.field(default=0, validator=ge(0))
    decay: Decay = attrs.field(default="linear", validator=in_(DECAYS))
    decay_share: float = attrs.field(default=1.0, validator=POSITIVE_SHARE)
    final: float = attrs.field(default=0.0, validator=SHARE)

    def build(self, *, weights: Sequence[Weight]) -> Optimizer:
        from resnetbk_plugins.optimizer.updates import AdagradUpdate, AdamWUpdate, ScheduledUpdates

        updates: dict[str, Update] = {
            "adamw": AdamWUpdate(self.lr, self.betas, self.eps, self.weight_decay),
            "adagrad": AdagradUpdate(self.table_lr),
        }
        schedule = Schedule(self.warmup, self.decay, self.decay_share, self.final)
        return ScheduledUpdates(weights, updates, schedule, self.lr, lambda weight: "adamw")
