"""A machine that others use too, and specs whose loss curves are known: comparisons that take no time."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import attrs

from resnetbk.errors import NumericError
from resnetbk.spec.spec import Spec
from resnetbk_instrument.results.comparison import Goal, Outcome
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.plan import Plan
from resnetbk_instrument.session.session import Session

QUIET = {"noise": 0.0, "loss_noise": 0.0, "drift": 0.0, "busy": 0.0}
"""Of a machine that others leave alone."""

TO_LOSS = Goal(loss=1.95)


@attrs.define
class Curve:
    """loss = limit + scale * (steps * quick) ** -power; a step takes `seconds`; fails from `breaks` steps.
    parents: seconds that its parent runs took.
    """

    quick: float = 1.0
    seconds: float = 0.1
    limit: float = 1.2
    scale: float = 6.0
    power: float = 0.35
    set_up: float = 0.0
    parents: float = 0.0
    breaks: int = 10**9

    def loss(self, steps: int) -> float:
        return self.limit + self.scale * (steps * self.quick) ** -self.power

    def steps(self, loss: float) -> float:
        """Where the curve reaches a loss."""
        return ((loss - self.limit) / self.scale) ** (-1 / self.power) / self.quick


@attrs.define(slots=False)
class Machine:
    """Noise of single trainings, a slow drift, and bursts of another program's work; curves by spec's name.

    Seconds passed are virtual. noise: standard deviation of the logarithm of a training's time; loss_noise:
    of the loss between seeds, in nats; busy: bursts a second; slow: by how much a burst slows.
    """

    curves: dict[str, Curve]
    seed: int = 0
    noise: float = 0.03
    loss_noise: float = 0.01
    drift: float = 0.04
    busy: float = 1 / 2000
    slow: float = 1.6
    now: float = 0.0
    trained: list[tuple[str, int, int]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.phase = self.random.uniform(0, 2 * math.pi)
        self.burst = (self._next(), 0.0)

    def _next(self) -> float:
        return self.now + (self.random.expovariate(self.busy) if self.busy else math.inf)

    def pace(self) -> float:
        """How much slower than at its best it is now."""
        start, end = self.burst
        if self.now >= start and end == 0.0:
            self.burst = (start, start + self.random.uniform(20, 200))
        elif end and self.now >= end:
            self.burst = (self._next(), 0.0)
        busy = self.slow if self.burst[1] else 1.0
        return busy * (1 + self.drift * math.sin(self.phase + self.now / 1500))

    def spend(self, seconds: float, noise: float) -> float:
        """Work that takes `seconds` on the idle machine; gives what it took."""
        spent = seconds * self.pace() * math.exp(self.random.gauss(0, noise))
        self.now += spent
        return spent

    def calibrate(self) -> float:
        return self.spend(0.2, 0.015)

    def train(self, spec: Spec, seed: int, steps: int) -> Outcome:
        self.trained.append((spec.name, seed, steps))
        curve = self.curves[spec.name]
        if steps >= curve.breaks:
            raise NumericError(f"step {curve.breaks}: the loss is nan; the weights before it are in x")
        seconds = self.spend(curve.set_up + curve.seconds * steps, self.noise)
        luck = random.Random(f"{self.seed} {spec.name} {seed} {steps} {len(self.trained)}").gauss(0, 1)
        loss = curve.loss(steps) + self.loss_noise * luck
        return Outcome(
            loss=loss,
            bits_per_byte=loss / math.log(2),
            costs={
                "seconds": seconds,
                "cpu_seconds": 2 * seconds,
                "flops": 1e9 * curve.seconds * steps,
                "tokens": 128 * steps,
            },
            parameters=1000,
            phases={"setup": curve.set_up, "forward": 0.3 * seconds, "backward": 0.7 * seconds},
            peak_memory=1 << 20,
            parents_cost={"seconds": curve.parents} if curve.parents else {},
        )


def session(
    specs: Spec | Mapping[str, Spec],
    curves: Mapping[str, Curve],
    goal: Goal = TO_LOSS,
    *,
    seed: int = 0,
    journal: Journal | None = None,
    pairs: int = 5,
    reach: float = 8.0,
    tolerance: float = 0.15,
    **machine: float,
) -> tuple[Session, Machine]:
    """A comparison of variants, of one spec or of their own, that learn as their curves say."""
    variants = dict.fromkeys(curves, specs) if isinstance(specs, Spec) else specs
    named = {
        variant: attrs.evolve(spec, name=variant.replace(" ", "-")) for variant, spec in variants.items()
    }
    simulated = Machine(
        {named[variant].name: curve for variant, curve in curves.items()}, seed=seed, **machine
    )
    plan = Plan(name="x", variants=named, goal=goal, pairs=pairs, reach=reach, tolerance=tolerance)
    return Session(plan, simulated.train, simulated.calibrate, journal or Journal()), simulated
