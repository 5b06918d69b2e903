"""Optimizer `muon`: orthogonalised momentum for matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from attrs.validators import deep_iterable, ge, in_

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
class Muon:
    """Muon (Jordan et al., 2024) for the matrices inside layers, AdamW for all other roles.

    An update of a matrix has singular values near `lr`, times sqrt(rows / columns) if there are more rows
    than columns: Jordan's original scaling, with which the same `lr` works for all widths.

    lr            peak learning rate of the matrices, and the rate that is reported
    momentum      of the matrices, in Nesterov's form
    adam_lr       peak learning rate of AdamW, for tables, vectors, convolutions and scalars
    betas         of AdamW: decay rates of the two moments
    weight_decay  times the learning rate, for matrices and tables; no other role decays
    table_lr      peak learning rate of Adagrad (Duchi et al., 2011) for tables whose gradients are sparse
    warmup        steps over which all learning rates rise linearly
    decay         of all learning rates: "linear", "cosine" (Loshchilov & Hutter, 2016) or "constant"
    decay_share   the share of the run, at its end, over which they decay; never during warmup; below 1 this
                  is warmup-stable-decay (WSD)
    final         the rates at the end of the run, as a share of their peaks
    """

    lr: float = attrs.field(default=0.02, validator=RATE)
    momentum: float = attrs.field(default=0.95, validator=DECAY_RATE)
    adam_lr: float = attrs.field(default=3e-3, validator=RATE)
    betas: tuple[float, float] = attrs.field(default=(0.9, 0.95), validator=deep_iterable(DECAY_RATE))
    weight_decay: float = attrs.field(default=0.0, validator=ge(0.0))
    table_lr: float = attrs.field(default=0.05, validator=RATE)
    warmup: int = attrs.field(default=0, validator=ge(0))
    decay: Decay = attrs.field(default="linear", validator=in_(DECAYS))
    decay_share: float = attrs.field(default=0.7, validator=POSITIVE_SHARE)
    final: float = attrs.field(default=0.0, validator=SHARE)

    def build(self, *, weights: Sequence[Weight]) -> Optimizer:
        from resnetbk_plugins.optimizer.muon_module import MuonUpdate
        from resnetbk_plugins.optimizer.updates import AdagradUpdate, AdamWUpdate, ScheduledUpdates

        updates: dict[str, Update] = {
            "muon": MuonUpdate(self.lr, self.momentum, self.weight_decay),
            "adamw": AdamWUpdate(self.adam_lr, self.betas, 1e-8, self.weight_decay),
            "adagrad": AdagradUpdate(self.table_lr),
        }
        schedule = Schedule(self.warmup, self.decay, self.decay_share, self.final)
        return ScheduledUpdates(
            weights, updates, schedule, self.lr, lambda weight: "muon" if weight.role == "matrix" else "adamw"
        )
