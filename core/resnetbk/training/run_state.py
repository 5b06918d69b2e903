"""What a checkpoint holds besides the tensors of model and optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from resnetbk.errors import StorageError, UserError
from resnetbk.metering.meter import STEP_PHASES
from resnetbk.runs.checkpoint import Checkpoint

_SPENT = ("seconds", "cpu_seconds", "flops")


@attrs.frozen(kw_only=True)
class RunState:
    """Everything that a run needs to go on, field by field the keys of a checkpoint's state.

    step, tokens   done so far
    evaluation_due whether the held-out loss at this step is still to be measured
    bad_steps      steps in a row whose loss or gradient was not finite
    best, best_at  lowest held-out loss, in a task error rate, and the checkpoint that has it (`step-000400`)
    stopped        why the run has ended: `steps`, `seconds`, `target`, or "" while it has not
    meter          of the first process: see `Meter.state`
    elsewhere      flops and cpu_seconds of the other processes
    source         what parent runs cost: seconds, cpu_seconds, flops, tokens
    rng            of torch, by type of device
    selector, strategy, tokenizer  what these components gave to be restored from
    corpus_sha256  of the text
    """

    step: int
    tokens: int
    evaluation_due: bool
    bad_steps: int
    best: float | None
    best_at: str | None
    stopped: str
    meter: Mapping[str, Any]
    elsewhere: Mapping[str, float]
    source: Mapping[str, float]
    rng: Mapping[str, Any]
    selector: Mapping[str, Any]
    strategy: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    corpus_sha256: str

    @classmethod
    def of(cls, checkpoint: Checkpoint, path: Path) -> RunState:
        """The state in a checkpoint. Raises StorageError when it is not that of a run."""
        try:
            return cls(**checkpoint.state)
        except TypeError:
            names = {field.name for field in attrs.fields(cls)}
            wrong = sorted(names ^ set(checkpoint.state))
            raise StorageError(f"{path}: is not of a run that this version can read ({wrong[0]!r})") from None

    def check_text(self, sha256: str, tokenizer: Mapping[str, Any], path: Path) -> None:
        """Raises UserError, naming `path`, unless the run trains on the text and the tokens that are here."""
        changed = "with another tokenizer than data.tokenizer" if dict(self.tokenizer) != tokenizer else ""
        changed = "on another text than data.corpus" if self.corpus_sha256 != sha256 else changed
        if changed:
            back = "bring that back, or begin another run, without --resume"
            raise UserError(f"{path}: trained {changed} gives now; {back}")

    def training_cost(self) -> dict[str, float]:
        """What the run cost so far, parent runs included: seconds, cpu_seconds and flops of set-up and steps,
        in all processes, and tokens."""
        costs = self.meter["costs"]
        spent = {key: sum(costs[phase][key] for phase in ("setup", *STEP_PHASES)) for key in _SPENT}
        spent["tokens"] = self.tokens
        others = (self.elsewhere, self.source)
        return {key: float(own) + sum(cost.get(key, 0.0) for cost in others) for key, own in spent.items()}
