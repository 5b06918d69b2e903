"""What each factor of a spec is worth: added alone, and added last to all the others.

Worths are never multiplied: what factors do together is measured, as the variant that has all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from resnetbk_instrument.results.comparison import (
    TARGETS,
    Ablation,
    Comparison,
    Factor,
    Interval,
    Worth,
)
from resnetbk_instrument.results.conclude import Rounds, gains, measures, ratios
from resnetbk_instrument.results.costs import MAIN
from resnetbk_instrument.results.factors import Design, Difference
from resnetbk_instrument.results.statistics import mean_interval, ratio_interval

Verdict = Literal["keep", "drop", "undecided"]


def ablation(comparison: Comparison, design: Design) -> Ablation:
    """The factors' worths from a comparison of the design's variants."""
    to_loss = comparison.goal.loss is not None
    refused = {variant.name: variant.refused for variant in comparison.variants if variant.refused}
    measured = {
        targets: {
            name: measures(comparison.goal, comparison.trials, name, refused, targets)
            for name in design.variants
        }
        for targets in (1, *TARGETS)
    }
    missing = {name: f"{name}: {reason}" for name, reason in refused.items()}
    missing |= {name: f"{name} cannot be built: {reason}" for name, reason in design.left_out.items()}
    return Ablation(
        comparison=comparison,
        factors=tuple(_factor(each, design, measured, missing, to_loss) for each in design.factors),
        whole=design.name_of.get(frozenset(each.name for each in design.factors), ""),
        left_out=design.left_out,
    )


def _factor(
    factor: Difference,
    design: Design,
    measured: Mapping[int, Mapping[str, Rounds]],
    missing: Mapping[str, str],
    to_loss: bool,
) -> Factor:
    everything = frozenset(each.name for each in design.factors)
    sets = (frozenset[str](), frozenset({factor.name}), everything - {factor.name}, everything)
    said = ("base", f"only {factor.name}", f"all but {factor.name}", "all")
    names = [design.name_of.get(subset, name) for subset, name in zip(sets, said, strict=True)]
    worths = {
        targets: _worth([variants.get(name, {}) for name in names], to_loss, len(everything) > 1)
        for targets, variants in measured.items()
    }
    worth = worths.pop(1)
    verdict = judged(worth.combined, 1.0 if to_loss else 0.0)
    without, whole = names[2:]
    if to_loss and without in missing.keys() - design.left_out.keys() and measured[1].get(whole):
        verdict = "keep"  # without it the others do not get there
    return Factor(
        name=factor.name,
        what=factor.what,
        worth=worth,
        amortised=worths if any(each != worth for each in worths.values()) else {},
        verdict=verdict,
        note="; ".join(dict.fromkeys(missing[name] for name in names if name in missing)),
    )


def _worth(variants: Sequence[Rounds], to_loss: bool, several: bool) -> Worth:
    """From the variants without any factor, with this one alone, without it, and with all."""
    base, only, without, whole = variants
    return Worth(
        alone=_step(base, only, to_loss),
        combined=_step(without, whole, to_loss),
        interaction=_interaction(base, only, without, whole, to_loss) if several else None,
    )


def judged(combined: Interval | None, nothing: float) -> Verdict:
    """By which side of `nothing` the whole interval of the worth in combination lies."""
    if combined is None or combined.low <= nothing <= combined.high:
        return "undecided"
    return "keep" if combined.low > nothing else "drop"


def _step(before: Rounds, after: Rounds, to_loss: bool) -> Interval | None:
    return ratios(before, after, MAIN) if to_loss else gains(before, after)


def _interaction(
    base: Rounds, only: Rounds, without: Rounds, whole: Rounds, to_loss: bool
) -> Interval | None:
    """The worth in combination divided by that alone, or less it, over rounds that have all four variants."""
    key = MAIN if to_loss else "loss"
    four = (base, only, without, whole)
    pairs = [pair for pair in base if all(key in variant.get(pair, {}) for variant in four)]
    if not pairs:
        return None
    a, b, c, d = ([variant[pair][key] for pair in pairs] for variant in four)
    if to_loss:
        combined = [x / y for x, y in zip(c, d, strict=True)]
        return ratio_interval(combined, [x / y for x, y in zip(a, b, strict=True)])
    return mean_interval([(z - w) - (x - y) for x, y, z, w in zip(a, b, c, d, strict=True)])
