"""What a comparison consists of, and its results: plain data, written and read as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from resnetbk_instrument.results.costs import COSTS, TRAINING

TARGETS = (3, 10)
"""Among how many targets the cost of parent runs is shared, beside one that bears it alone."""

FEWEST = 3
"""Values that give an interval. With two, Student's t is 12.7: the interval says that nothing is known, in
numbers that look as if something were."""

Unit = Literal["nats/token", "bits/byte", "error rate"]


@attrs.frozen(kw_only=True)
class Goal:
    """A held-out `loss` that variants are to reach, or a `budget` of the cost `equal` that each may spend
    (None until the baseline's own spec has been measured). Exactly one of `loss` and `equal`.

    unit  of every loss in a comparison, also of the n-gram baseline; bits/byte when tokenizers differ; the
          error rate of a task, 1 - accuracy, unless a loss in nats was asked for
    """

    loss: float | None = None
    equal: str | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.in_([cost.key for cost in TRAINING])),
    )
    budget: float | None = None
    unit: Unit = "nats/token"

    def loss_of(self, trial: Trial) -> float:
        """In the goal's unit."""
        outcome = trial.outcome
        if self.unit == "error rate":
            return math.nan if outcome.accuracy is None else 1 - outcome.accuracy
        return outcome.loss if self.unit == "nats/token" else outcome.bits_per_byte


@attrs.frozen(kw_only=True)
class Outcome:
    """What one training gave, all costs counted.

    loss, bits_per_byte  on the whole held-out text, at the end; loss in nats/token
    accuracy      at the held-out labels of a task
    costs         by key of COSTS, without those that were not measured. Of the training: set-up that the spec
                  causes, scoring and steps; not the evaluation. Of inference: passes over the held-out text
                  with the trained model, for each token, not charged to the training
    phases        wall seconds by phase
    peak_memory   bytes
    parents_cost  seconds, cpu_seconds, flops and tokens that the parent runs cost, which this one starts from
                  or chooses its data by; in none of the above
    """

    loss: float
    bits_per_byte: float
    costs: Mapping[str, float]
    parameters: int
    phases: Mapping[str, float] = attrs.field(factory=dict)
    peak_memory: int = 0
    parents_cost: Mapping[str, float] = attrs.field(factory=dict)
    accuracy: float | None = None


FAILED = Outcome(loss=math.nan, bits_per_byte=math.nan, costs={}, parameters=0)
"""Of a training that gave no loss. What it had cost until then is not known."""


@attrs.frozen(kw_only=True)
class Trial:
    """One training of one variant: a line of `trials.jsonl`.

    pair    number of the round that it belongs to, from 0; -1 for the search before the rounds
    steps   the budget, at the end of which the learning rate had decayed
    speed   of the machine right before and right after: seconds of a fixed piece of work; 0 where workers
            train
    kept    whether its round counts: what was spent was equal, and where that matters the machine held still
    timed   whether its seconds count: otherwise the machine moved in a round that is about no time, or
            workers trained
    failed  why it gave no loss; "" otherwise
    """

    variant: str
    pair: int
    seed: int
    steps: int
    outcome: Outcome
    speed: tuple[float, float]
    kept: bool = True
    timed: bool = True
    failed: str = ""

    def cost(self, key: str) -> float:
        """What it was charged of one of COSTS; 0 where that was not measured or does not count."""
        if not self.timed and not COSTS[key].exact:
            return 0.0
        return self.outcome.costs.get(key, 0.0)


@attrs.frozen
class Interval:
    """An estimate with its 95 % interval, from n values, which are `values`, in the order of rounds. Fewer
    than FEWEST give no interval: then low and high are infinite (of a ratio: 0 and infinite)."""

    estimate: float
    low: float
    high: float
    n: int
    values: tuple[float, ...] = ()


@attrs.frozen(kw_only=True)
class Variant:
    """The results of one spec. The first variant of a comparison is the baseline of the others.

    spec       resolved, as a plain tree
    loss       mean at the end of the largest budget that every round has
    reached    with a loss as goal: geometric mean of each cost at which the loss was reached; else empty
    spent      with a budget as goal: geometric mean of each cost; else empty
    saved      cost of the baseline divided by this one's, by cost: 2 means half the cost; empty where
               quality is unequal, and with a budget as goal
    amortised  the same where what the parent runs of either cost is shared among so many targets; empty
               without any
    gained     loss of the baseline minus this one's at the budget; with a budget as goal
    refused    why there is no number: the loss was not reached; "" otherwise
    """

    name: str
    spec: Mapping[str, Any]
    parameters: int
    loss: Interval
    reached: Mapping[str, Interval] = attrs.field(factory=dict)
    spent: Mapping[str, Interval] = attrs.field(factory=dict)
    saved: Mapping[str, Interval] = attrs.field(factory=dict)
    amortised: Mapping[int, Mapping[str, Interval]] = attrs.field(factory=dict)
    gained: Interval | None = None
    refused: str = ""


@attrs.frozen(kw_only=True)
class Comparison:
    """All that a report says.

    ngram_baseline  loss of counting n-grams, by order; empty when the variants' tokenizers differ
    machine         what it ran on
    thrown_out      rounds that were repeated because the machine moved or spending was unequal
    """

    name: str
    goal: Goal
    variants: tuple[Variant, ...]
    trials: tuple[Trial, ...]
    ngram_baseline: Mapping[int, float]
    machine: Mapping[str, str]
    command: str
    thrown_out: int = 0

    def untimed(self) -> int:
        """How many rounds count without their seconds."""
        return len(
            {trial.pair for trial in self.trials if trial.pair >= 0 and trial.kept and not trial.timed}
        )

    def untimed_because(self) -> str:
        """Why: workers, that calibrate nothing, trained them, or the machine's speed changed."""
        return "the machine moved" if any(any(trial.speed) for trial in self.trials) else "workers trained"

    def with_parents(self) -> list[str]:
        """The variants that have parent runs, to start from or to choose data by."""
        names = {trial.variant for trial in self.trials if trial.outcome.parents_cost}
        return [variant.name for variant in self.variants if variant.name in names]


@attrs.frozen
class Worth:
    """What a factor saves: the ratio of seconds to the goal's loss without it to with it, or, at equal
    budgets, the loss without it minus with it.

    alone        added to nothing else; None when a variant that this needs has no number
    combined      added to all the others
    interaction  combination / alone, or their difference at equal budgets; None with fewer than two factors
    """

    alone: Interval | None = None
    combined: Interval | None = None
    interaction: Interval | None = None


@attrs.frozen(kw_only=True)
class Factor:
    """One difference between the spec and the baseline.

    what       "plain -> quick": its value without and with it
    worth      with the cost of parent runs in full
    amortised  its worth where the cost of parent runs is shared among so many targets; empty where that
               changes nothing, and at equal budgets
    verdict    "keep", "drop" or "undecided", by its worth in combination
    note       why a number is missing; "" otherwise
    """

    name: str
    what: str
    worth: Worth
    amortised: Mapping[int, Worth] = attrs.field(factory=dict)
    verdict: Literal["keep", "drop", "undecided"]
    note: str = ""


@attrs.frozen(kw_only=True)
class Ablation:
    """A comparison whose baseline has none of the factors.

    whole     name of the variant with all factors; its `saved` is what they are worth together
    left_out  combinations that the components' contract refuses, and why, by name
    """

    comparison: Comparison
    factors: tuple[Factor, ...]
    whole: str = ""
    left_out: Mapping[str, str] = attrs.field(factory=dict)
