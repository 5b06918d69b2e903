"""Optimizer `schedule-free`: averages weights instead of decaying a rate (extra `schedulefree`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import attrs
from attrs.validators import and_, deep_iterable, ge, gt, lt

from resnetbk.errors import UserError
from resnetbk.kinds import Optimizer, Weight
from resnetbk_plugins.optimizer.schedule import RATE


@attrs.frozen(kw_only=True)
class ScheduleFree:
    """Schedule-free AdamW (Defazio et al., 2024), for all weights, by the package `schedulefree`.

    Its rate never decays, so the length of the run need not be known. The model is evaluated and saved with
    the averaged weights, as by `train.average`, which is not needed with it. A sparse gradient is made dense,
    since every row of a table moves at every step.

    lr            learning rate after warmup, up to ten times that of AdamW with a schedule
    betas         interpolation between the average and the weights that the updates move, where gradients
                  are computed; and decay rate of the second moment
    eps           added to the square root of the second moment
    weight_decay  times the learning rate, for matrices and tables; no other role decays
    warmup        steps over which the rate rises linearly
    """

    lr: float = attrs.field(default=3e-3, validator=RATE)
    betas: tuple[float, float] = attrs.field(
        default=(0.9, 0.95), validator=deep_iterable(and_(gt(0.0), lt(1.0)))
    )
    eps: float = attrs.field(default=1e-8, validator=gt(0.0))
    weight_decay: float = attrs.field(default=0.0, validator=ge(0.0))
    warmup: int = attrs.field(default=0, validator=ge(0))

    def check(self, spec: Any) -> None:
        if spec.train.average is not None:
            raise ValueError("is evaluated with its own average already; leave train.average out")

    def build(self, *, weights: Sequence[Weight]) -> Optimizer:
        """Raises UserError without the package."""
        if find_spec("schedulefree") is None:
            install = 'pip install "resnetbk[schedulefree]"'
            raise UserError(f"train.optimizer: 'schedule-free' needs schedulefree: {install}")
        from resnetbk_plugins.optimizer.schedule_free_module import ScheduleFreeAdamW

        return ScheduleFreeAdamW(weights, self.lr, self.betas, self.eps, self.weight_decay, self.warmup)
