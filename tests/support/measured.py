"""Comparisons with numbers that are known beforehand, for what reads them."""

from __future__ import annotations

import math
from typing import Any

from resnetbk_instrument.results.comparison import (
    Ablation,
    Comparison,
    Factor,
    Goal,
    Interval,
    Outcome,
    Trial,
    Variant,
    Worth,
)

NGRAM_BASELINE = {1: 3.25, 7: 1.765}
MACHINE = {"processor": "Pocket calculator, 2 cores", "torch": "2.13.0", "python": "3.11.9"}
COMMAND = "resnetbk compare a.toml b.toml --target-loss 1.88 --pairs 5"
T_95 = {5: 2.776}


def spec(mixer: str, width: int = 64) -> dict[str, Any]:
    return {
        "name": "x",
        "seed": 0,
        "model": {"width": width, "mixer": {"use": mixer}},
        "train": {"steps": 100, "seconds": None},
    }


def trial(variant: str, pair: int, steps: int, *, speed: float = 1.0, **more: float) -> Trial:
    """One training: the loss falls with steps, costs are steps / speed; `more` of them."""
    seconds = 0.1 * steps / speed * (1 + 0.01 * (pair % 3))
    loss = 1.7 + 2.0 * steps**-0.5 + 0.001 * (pair % 3)
    outcome = Outcome(
        loss=loss,
        bits_per_byte=loss / math.log(2),
        costs={
            "seconds": seconds,
            "cpu_seconds": 1.9 * seconds,
            "flops": 3e9 * steps / speed,
            "tokens": 512 * steps,
            **more,
        },
        parameters=12_345,
        phases={"forward": 0.35 * seconds, "backward": 0.5 * seconds, "optimizer": 0.15 * seconds},
        peak_memory=300 * 2**20,
    )
    return Trial(variant=variant, pair=pair, seed=pair + 1, steps=steps, outcome=outcome, speed=(0.2, 0.201))


def ratio(estimate: float, pairs: int) -> Interval:
    """With the interval of a spread of 5 % in each pair."""
    if pairs < 3:
        return Interval(estimate, 0.0, math.inf, pairs, (estimate * 0.99, estimate * 1.01)[:pairs])
    wide = math.exp(0.05 * T_95[pairs] / math.sqrt(pairs))
    return Interval(estimate, estimate / wide, estimate * wide, pairs)


def comparison(
    *speeds: float, pairs: int = 5, equal: bool = False, names: tuple[str, ...] = ("alpha", "beta", "gamma")
) -> Comparison:
    """Variants that are so many times faster than the first; the first is 1."""
    trials, variants = [], []
    for number, (name, speed) in enumerate(zip(names, speeds, strict=False)):
        for pair in range(-1, pairs):
            trials += [trial(name, pair, steps, speed=speed) for steps in (100, 125)]
        costs = {
            "seconds": ratio(12.5 / speed, pairs),
            "cpu_seconds": ratio(23.75 / speed, pairs),
            "flops": ratio(3.75e11 / speed, pairs),
            "tokens": ratio(64_000, pairs),
        }
        saved = {cost: ratio(speed if cost != "tokens" else 1.0, pairs) for cost in costs}
        gain = Interval(0.01 * number, 0.01 * number - 0.004, 0.01 * number + 0.004, pairs)
        variants.append(
            Variant(
                name=name,
                spec=spec(("plain", "quick", "other")[number], 64 + number),
                parameters=12_345,
                loss=Interval(1.8788, 1.8771, 1.8805, pairs),
                reached={} if equal else costs,
                spent=costs if equal else {},
                saved=saved if number and not equal else {},
                gained=gain if number and equal else None,
            )
        )
    return Comparison(
        name="alpha-against-beta",
        goal=Goal(equal="seconds", budget=12.5) if equal else Goal(loss=1.88),
        variants=tuple(variants),
        trials=tuple(trials),
        ngram_baseline=NGRAM_BASELINE,
        machine=MACHINE,
        command=COMMAND,
    )


def ablation() -> Ablation:
    measured = comparison(1.0, 2.0, 3.0, names=("base", "only mixer", "all"))
    keep = Factor(
        name="mixer",
        what="plain -> quick",
        worth=Worth(ratio(2.0, 5), ratio(1.5, 5), ratio(0.75, 5)),
        amortised={3: Worth(ratio(2.2, 5), ratio(1.7, 5), ratio(0.77, 5))},
        verdict="keep",
    )
    drop = Factor(
        name="halting",
        what="none -> some",
        worth=Worth(None, ratio(0.8, 5), None),
        verdict="drop",
        note="only halting: 1.88 was not reached",
    )
    return Ablation(
        comparison=measured, factors=(keep, drop), whole="all", left_out={"only gate": "needs a mixer"}
    )
