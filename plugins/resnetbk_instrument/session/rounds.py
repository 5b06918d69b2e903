"""Whole rounds of a comparison on workers, where seconds count: ratios are taken within a machine.

A worker makes a round as a session alone does, warm-up and calibrations included, knowing the trainings that
the caller's journal held when the round began. The caller adds rounds to its journal in order, and judges
them. A worker that is lost costs its round, which another one makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import attrs
import cattrs

from resnetbk.files import spelled
from resnetbk.lock.lock import dump
from resnetbk.registry.lookup import Registry
from resnetbk.training.signals import Signals
from resnetbk_instrument.results.comparison import Goal, Trial
from resnetbk_instrument.session.calibration import calibration
from resnetbk_instrument.session.cluster import Cluster, awaited, checked, errors_as_json, held
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.plan import Plan
from resnetbk_instrument.session.runner import runner
from resnetbk_instrument.session.session import Session


class RoundsElsewhere:
    """Makes rounds at workers, one at each at a time: that which is asked for, and those after it."""

    def __init__(
        self, cluster: Cluster, signals: Signals, registry: Registry, corpus_sha256: str, plan: Plan,
        journal: Journal,
    ) -> None:  # fmt: skip
        self.cluster, self.signals, self.plan, self.journal = cluster, signals, plan, journal
        self._plan = {
            **{key: getattr(plan, key) for key in ("name", "pairs", "reach", "tolerance")},
            "goal": attrs.asdict(plan.goal),
            "variants": {name: dump(spec, registry) for name, spec in plan.variants.items()},
            "held": {
                name: held(spec, registry, cluster.device, corpus_sha256)
                for name, spec in plan.variants.items()
            },
        }
        self._begun: dict[int, Future[str]] = {}

    def __call__(self, pair: int, refused: Mapping[str, str]) -> list[Trial]:
        """Waits for a round, or for the search, -1. Raises what it raised at the worker, and Interrupted."""
        what = "the search" if pair < 0 else f"round {pair + 1}"
        future = self._begun.pop(pair, None) or self._begin(pair, refused)
        tree = awaited(future, self.signals, what, lambda: self._ahead(pair, refused, future))
        return cattrs.structure(tree["trials"], list[Trial])

    def _ahead(self, pair: int, refused: Mapping[str, str], waited_for: Future[str]) -> None:
        """Begins later rounds where workers are idle. At equal budgets the first alone shows what a step
        costs, which the short trainings of the search only guess."""
        counts = any(trial.pair >= 0 and trial.kept for trial in self.journal.trials)
        if pair < 0 or (self.plan.goal.equal and not counts):
            return
        idle = self.cluster.count() - sum(not f.done() for f in (waited_for, *self._begun.values()))
        later = [
            other
            for other in range(pair + 1, self.plan.pairs)
            if other not in self._begun and not self.journal.of_round(other)
        ]
        for other in later[: max(0, idle)]:
            self._begun[other] = self._begin(other, refused)

    def _begin(self, pair: int, refused: Mapping[str, str]) -> Future[str]:
        trials = [spelled(attrs.asdict(trial)) for trial in self.journal.trials]
        order = {"pair": pair, "refused": dict(refused), "trials": trials, "device": self.cluster.device}
        return self.cluster.executor.submit(round_as_json, json.dumps(self._plan), json.dumps(order))


@errors_as_json
def round_as_json(plan: str, order: str) -> Mapping[str, Any]:
    """At a worker: makes a round, and gives its trainings."""
    tree, asked = json.loads(plan), json.loads(order)
    device, variants, same = asked["device"], tree.pop("variants"), tree.pop("held")
    specs = {}
    for name, text in variants.items():
        registry, specs[name] = checked(text, device, same[name])
    made = Plan(variants=specs, goal=cattrs.structure(tree.pop("goal"), Goal), **tree)
    journal = Journal()
    journal.add(*cattrs.structure(asked["trials"], list[Trial]))
    session = Session(made, runner(registry, Signals(), device), calibration(device), journal)
    session.refused.update(asked["refused"])
    return {"trials": [attrs.asdict(trial) for trial in session.make(asked["pair"])]}
