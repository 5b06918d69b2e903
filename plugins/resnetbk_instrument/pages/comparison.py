"""The page of a comparison: its result in a sentence, in pictures, and in every number behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import attrs

from resnetbk import toml_write
from resnetbk.lock.changes import NOTHING as ABSENT
from resnetbk.lock.changes import changes
from resnetbk_instrument.pages import sentences as words
from resnetbk_instrument.pages.bars import Estimate, Group, Phases, forest, phases
from resnetbk_instrument.pages.curves import Curve, Rule, baseline_rules, curves
from resnetbk_instrument.pages.html import Cell, Figure, Table, over_ends, render, spec_text
from resnetbk_instrument.pages.numbers import NOTHING, Unit, change, digits, nats
from resnetbk_instrument.results.comparison import Comparison, Trial, Variant
from resnetbk_instrument.results.costs import BYTES, COSTS, MAIN, SHOWN, TRAINING, Cost
from resnetbk_instrument.results.ngram_baseline import gram_name

T = TypeVar("T")


def comparison_page(comparison: Comparison) -> str:
    headline = words.chosen(comparison)
    others = [
        (number, words.verdict(comparison, variant))
        for number, variant in enumerate(comparison.variants)
        if number and variant is not headline
    ]
    return render(
        "comparison",
        title=comparison.name,
        kind="comparison",
        headline=words.verdict(comparison, headline),
        others=others,
        circumstances=words.circumstances(comparison),
        **sections(comparison),
    )


def sections(comparison: Comparison) -> dict[str, Any]:
    """What `comparison_sections.html.j2` asks for: all below the head of a page."""
    return {
        "unit": comparison.goal.unit,
        "to_loss": comparison.goal.loss is not None,
        "timed": comparison.goal.loss is not None or not COSTS[comparison.goal.equal or MAIN].exact,
        "with_parents": bool(comparison.with_parents()),
        "ngram_baseline": words.baseline_words(comparison.ngram_baseline),
        "names": [variant.name for variant in comparison.variants],
        "refused": [variant for variant in comparison.variants if variant.refused],
        "losses": _losses(comparison),
        "worth": _worth(comparison),
        "phases": _phases(comparison),
        "numbers": _numbers(comparison),
        "differences": _differences(comparison),
        "specs": {variant.name: spec_text(variant.spec) for variant in comparison.variants},
        "machine": comparison.machine,
        "command": comparison.command,
        "trials": _trials(comparison.trials),
    }


# ---------------------------------------------------------------- pictures


def _losses(comparison: Comparison) -> list[Figure]:
    goal = comparison.goal.loss
    rules = [Rule(goal, f"goal {goal:g}", True)] if goal is not None else []
    rules += baseline_rules(comparison.ngram_baseline)
    figures = []
    for cost in TRAINING:
        lines = [
            _curve(number, variant, comparison, cost) for number, variant in enumerate(comparison.variants)
        ]
        picture = curves(f"loss-{cost.key}", cost, f"Held-out loss in {comparison.goal.unit}", lines, rules)
        figures.append(Figure(picture, f"Against {cost.title}"))
    return [figure for figure in figures if figure.picture]


def _curve(number: int, variant: Variant, comparison: Comparison, cost: Cost) -> Curve:
    trials = [(t.cost(cost.key), comparison.goal.loss_of(t), t.steps) for t in _kept(comparison, variant)]
    trials = [line for line in trials if line[0] > 0 and all(map(math.isfinite, line))]
    points = []
    for group in _budgets(trials, lambda line: line[2]):
        losses = [loss for _, loss, _ in group]
        middle = math.exp(sum(math.log(spent) for spent, _, _ in group) / len(group))
        points.append((middle, sum(losses) / len(losses), min(losses), max(losses)))
    x, y, low, high = ([point[i] for point in points] for i in range(4))
    dots = [(spent, loss) for spent, loss, _ in trials] if len(trials) > len(points) else []
    return Curve(hue=number, x=x, y=y, low=low, high=high, dots=dots)


@attrs.frozen
class Worths:
    """Every variant against the first: ratios of costs at equal quality, or losses at equal cost."""

    picture: str
    note: str
    amortised: Table | None


def _worth(comparison: Comparison) -> Worths | None:
    first, others = comparison.variants[0].name, list(enumerate(comparison.variants))[1:]
    goal = words.goal_words(comparison)
    if comparison.goal.loss is None:
        label = f"Losses below that of {first}"
        gains = [Group(a.name, i, [Estimate("loss", a.gained)]) for i, a in others if a.gained]
        picture = forest("worth", label, gains, ratio=False, shown=change)
        note = f"Right of the line: fewer {words.short_unit(comparison)} than {first} at {goal}."
    else:
        label = f"How many times less than {first}, by cost"
        ratios = [
            Group(a.name, i, [Estimate(c.title, a.saved[c.key]) for c in SHOWN if c.key in a.saved])
            for i, a in others
        ]
        picture = forest("worth", label, ratios, ratio=True)
        note = f"Cost of {first} divided by the variant's, on the way to {goal}; 2× is half."
    return Worths(picture, note, _amortised(comparison)) if picture else None


def _amortised(comparison: Comparison) -> Table | None:
    """What is saved of each cost where that of parent runs is shared; nothing without any."""
    rows = [
        [
            Cell(variant.name, hue=number),
            str(targets),
            *(over_ends(saved.get(cost.key), digits) for cost in TRAINING),
        ]
        for number, variant in enumerate(comparison.variants)
        for targets, saved in {1: variant.saved, **variant.amortised}.items()
        if number and variant.amortised
    ]
    head = ["variant", "targets of its parent runs", *(_ratio(cost) for cost in TRAINING)]
    return Table(head, rows) if rows else None


def _phases(comparison: Comparison) -> Phases | None:
    rows = []
    for number, variant in enumerate(comparison.variants):
        trials = [trial for trial in _largest(comparison, variant) if trial.timed]
        names = dict.fromkeys(name for trial in trials for name in trial.outcome.phases)
        means = {n: sum(t.outcome.phases.get(n, 0.0) for t in trials) / len(trials) for n in names}
        rows.append((variant.name, number, means))
    return phases(
        rows, "Mean training of each variant's largest budget in rounds; evaluation is not charged."
    )


# ---------------------------------------------------------------- numbers


def _kept(comparison: Comparison, variant: Variant) -> list[Trial]:
    return [
        trial
        for trial in comparison.trials
        if trial.variant == variant.name and trial.kept and not trial.failed
    ]


def _budgets(items: Iterable[T], steps: Callable[[T], int]) -> list[list[T]]:
    """Items by budget: steps within a tenth of each other are one, since equal costs are not equal steps."""
    groups: list[list[T]] = []
    for item in sorted(items, key=steps):
        if groups and steps(item) <= 1.1 * steps(groups[-1][0]):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _largest(comparison: Comparison, variant: Variant) -> list[Trial]:
    """The kept trainings of a variant's largest budget in the rounds; of the search where there are none."""
    kept = _kept(comparison, variant)
    budgets = _budgets([trial for trial in kept if trial.pair >= 0] or kept, lambda trial: trial.steps)
    return budgets[-1] if budgets else []


def _numbers(comparison: Comparison) -> Table:
    target, unit = comparison.goal.loss is not None, comparison.goal.unit
    largest = {variant.name: _largest(comparison, variant) for variant in comparison.variants}
    spent = {variant.name: variant.reached if target else variant.spent for variant in comparison.variants}
    costs = [c for c in COSTS.values() if any(c.key in by_cost for by_cost in spent.values())]
    units = {
        c.key: Unit.of(c.units, [by[c.key].estimate for by in spent.values() if c.key in by]) for c in costs
    }
    memory = {
        name: max((t.outcome.peak_memory for t in trials), default=0) for name, trials in largest.items()
    }
    byte = Unit.of(BYTES, memory.values())
    saved = [c for c in SHOWN if any(c.key in variant.saved for variant in comparison.variants)]
    # what the comparison is about comes first, where a narrow screen shows it
    ratios = [_ratio(c) for c in saved]
    gained = f"{words.short_unit(comparison)} gained"
    head = ["variant", *((*ratios, unit) if target else (gained, unit, *ratios))]
    head += [units[c.key].heading(c.title) for c in costs] + [byte.heading("peak memory"), "parameters"]
    rows: list[list[str | Cell]] = []
    for number, variant in enumerate(comparison.variants):
        cells: list[str | Cell] = [Cell(variant.name, "refused" if variant.refused else "", hue=number)]
        loss, gain = over_ends(variant.loss, nats), over_ends(variant.gained, change) if number else "0"
        saving = [over_ends(variant.saved.get(c.key), digits) if number else "1" for c in saved]
        cells += (*saving, loss) if target else (gain, loss, *saving)
        cells += [over_ends(spent[variant.name].get(c.key), units[c.key].number) for c in costs]
        cells += [byte.number(memory[variant.name]) if memory[variant.name] else NOTHING]
        cells += [f"{variant.parameters:,}"]
        rows.append(cells)
    ngram_baseline = sorted(comparison.ngram_baseline.items())
    rows += [
        [f"{gram_name(n)} counts", *(nats(value) if name == unit else "" for name in head[1:])]
        for n, value in ngram_baseline
    ]
    return Table(head, rows, quiet=len(ngram_baseline))


def _ratio(cost: Cost) -> str:
    """The heading of a column of ratios: `less time, ×`."""
    return f"{cost.less},\N{NO-BREAK SPACE}×"


def _differences(comparison: Comparison) -> Table:
    first, others = comparison.variants[0], comparison.variants[1:]
    changed = [{change.key: change for change in changes(first.spec, variant.spec)} for variant in others]
    before = {key: change.before for by_key in changed for key, change in by_key.items()}
    before.pop("name", None)  # variants have names of their own
    rows: list[list[str | Cell]] = []
    for key, value in before.items():
        same = _value(value)
        theirs = (Cell(_value(c[key].after), strong=True) if key in c else same for c in changed)
        rows.append([key, same, *theirs])
    head = ["key", *(variant.name for variant in comparison.variants)]
    return Table(head, rows, words=len(head))


def _value(value: Any) -> str:
    return NOTHING if value is ABSENT or value is None else toml_write.inline(value)


def _counts(trial: Trial) -> str | Cell:
    """Whether a training does, and with what."""
    if trial.failed:
        return f"failed: {trial.failed}"
    if not trial.kept:
        return Cell("thrown out", strong=True)
    return "yes" if trial.timed else Cell("without times", strong=True)


def _trials(trials: Sequence[Trial]) -> Table:
    costs = [c for c in COSTS.values() if any(t.cost(c.key) > 0 for t in trials)]
    units = {c.key: Unit.of(c.units, [t.cost(c.key) for t in trials]) for c in costs}
    byte = Unit.of(BYTES, [trial.outcome.peak_memory for trial in trials])
    head = ["variant", "round", "counts", "seed", "steps", "nats/token", "bits/byte"]
    head += [units[c.key].heading(c.title) for c in costs]
    head += [byte.heading("peak memory"), "speed before, s", "speed after, s"]
    rows = [
        [
            t.variant,
            "search" if t.pair < 0 else str(t.pair + 1),
            _counts(t),
            str(t.seed),
            f"{t.steps:,}",
            nats(t.outcome.loss),
            nats(t.outcome.bits_per_byte),
            *(units[c.key].number(t.cost(c.key)) if t.cost(c.key) > 0 else NOTHING for c in costs),
            byte.number(t.outcome.peak_memory),
            *(digits(speed) for speed in t.speed),
        ]
        for t in trials
    ]
    return Table(head, rows, words=3)
