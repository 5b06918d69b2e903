"""The page of a comparison: what it came to, in a sentence, in pictures, and in every number behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, TypeVar

from resnetbk import toml_write
from resnetbk.lock.changes import NOTHING as ABSENT
from resnetbk.lock.changes import changes
from resnetbk_instrument.pages import html
from resnetbk_instrument.pages import sentences as words
from resnetbk_instrument.pages.bars import TINTS, Estimate, Group, bars, forest
from resnetbk_instrument.pages.curves import Curve, Rule, curves
from resnetbk_instrument.pages.html import NOTHING, Unit
from resnetbk_instrument.results.comparison import Arm, Comparison, Trial
from resnetbk_instrument.results.costs import BYTES, COSTS, SHOWN, TRAINING, Cost
from resnetbk_instrument.results.ngram_baseline import gram_name

T = TypeVar("T")


def comparison_page(found: Comparison) -> str:
    return html.page(found.name, "comparison", words.lead(found), *sections(found))


def sections(found: Comparison) -> list[str]:
    """All sections below the head of a page."""
    side_by_side = [part for part in (worth_section(found), phase_section(found)) if part]
    return [
        loss_section(found),
        html.panels(*side_by_side),
        number_section(found),
        difference_section(found),
        method_section(found),
    ]


# ---------------------------------------------------------------- pictures


def loss_section(found: Comparison) -> str:
    goal = found.goal.loss
    rules = [Rule(goal, f"goal {goal:g}", True)] if goal is not None else []
    rules += floor_rules(found.floors)
    drawn = []
    for cost in TRAINING:
        lines = [_curve(number, arm, found, cost) for number, arm in enumerate(found.arms)]
        picture = curves(f"loss-{cost.key}", cost, f"Held-out loss in {words.unit(found)}", lines, rules)
        if picture:
            drawn.append(html.figure(picture, f"Against {cost.title}"))
    if not drawn:
        return ""
    note = (
        "Each small dot is a training of its own, whose learning rate decayed to its end. Lines join the "
        "means of budgets; bands span the seeds."
    )
    if found.building():
        note += " What sources cost is in none of these curves."
    return html.section(
        f"Held-out loss, {words.unit(found)}",
        html.element("p", f"{note} {words.floor_words(found.floors)}", "note"),
        html.key([arm.name for arm in found.arms]),
        html.panels(*drawn),
    )


def _curve(number: int, arm: Arm, found: Comparison, cost: Cost) -> Curve:
    trials = [(t.cost(cost.key), found.goal.loss_of(t), t.steps) for t in _kept(found, arm)]
    trials = [line for line in trials if line[0] > 0 and all(map(math.isfinite, line))]
    points = []
    for group in _budgets(trials, lambda line: line[2]):
        losses = [loss for _, loss, _ in group]
        middle = math.exp(sum(math.log(spent) for spent, _, _ in group) / len(group))
        points.append((middle, sum(losses) / len(losses), min(losses), max(losses)))
    x, y, low, high = ([point[i] for point in points] for i in range(4))
    dots = [(spent, loss) for spent, loss, _ in trials] if len(trials) > len(points) else []
    return Curve(hue=number, x=x, y=y, low=low, high=high, dots=dots)


def worth_section(found: Comparison) -> str:
    """Every arm against the first: ratios of costs at equal quality, or losses at equal cost."""
    first, others = found.arms[0].name, list(enumerate(found.arms))[1:]
    if found.goal.loss is None:
        label = f"Losses below that of {first}"
        gains = [Group(a.name, i, [Estimate("loss", a.gained)]) for i, a in others if a.gained]
        picture = forest("worth", label, gains, ratio=False, shown=html.change)
        note = (
            f"Right of the line: fewer {words.short_unit(found)} than {first} at {words.goal_words(found)}."
        )
    else:
        label = f"How many times less than {first}, by cost"
        ratios = [
            Group(a.name, i, [Estimate(c.title, a.saved[c.key]) for c in SHOWN if c.key in a.saved])
            for i, a in others
        ]
        picture = forest("worth", label, ratios, ratio=True)
        note = f"Cost of {first} divided by the arm's, on the way to {words.goal_words(found)}; 2× is half."
    if not picture:
        return ""
    refused = " ".join(f"{arm.name} is refused: {arm.refused}." for arm in found.arms if arm.refused)
    said = f"{note} Bars are 95\N{NO-BREAK SPACE}% intervals. {refused}".strip()
    return html.section(
        "What is gained" if found.goal.loss is None else "What is saved",
        html.element("p", said, "note"),
        picture,
        _amortised(found),
    )


def _amortised(found: Comparison) -> str:
    """What is saved of each cost where the sources' is shared; nothing without sources."""
    rows = [
        [
            html.swatch(number, arm.name),
            str(targets),
            *(html.over_ends(saved.get(c.key), html.digits) for c in TRAINING),
        ]
        for number, arm in enumerate(found.arms)
        for targets, saved in {1: arm.saved, **arm.amortised}.items()
        if number and arm.amortised
    ]
    if not rows:
        return ""
    head = ["arm", "targets of its source", *(_ratio(c) for c in TRAINING)]
    return html.grid(head, rows)


def phase_section(found: Comparison) -> str:
    rows = []
    for number, arm in enumerate(found.arms):
        trials = _largest(found, arm)
        names = dict.fromkeys(name for trial in trials for name in trial.outcome.phases)
        means = {n: sum(trial.outcome.phases.get(n, 0.0) for trial in trials) / len(trials) for n in names}
        rows.append((arm.name, number, means))
    return phases(rows, "Mean training of each arm's largest budget in rounds; evaluation is not charged.")


def phases(rows: Sequence[tuple[str, int, Mapping[str, float]]], note: str) -> str:
    """The section on what the time of each row is made of."""
    picture = bars("phases", "Time by phase", COSTS["seconds"].units, rows)
    if not picture:
        return ""
    names = dict.fromkeys(name for _, _, parts in rows for name in parts)
    tints = "".join(
        f'<span class="swatch tint"><i style="opacity: {TINTS[min(i, len(TINTS) - 1)]}"></i>'
        f"{escape(name)}</span>"
        for i, name in enumerate(names)
    )
    below = f'<p class="key">{tints}</p>'
    return html.section("Where the time goes", html.element("p", note, "note"), picture, below)


def floor_rules(floors: Mapping[int, float]) -> list[Rule]:
    return [Rule(nats, f"{gram_name(order)} counts") for order, nats in sorted(floors.items())]


# ---------------------------------------------------------------- numbers


def _kept(found: Comparison, arm: Arm) -> list[Trial]:
    return [trial for trial in found.trials if trial.arm == arm.name and trial.kept and not trial.failed]


def _budgets(items: Iterable[T], steps: Callable[[T], int]) -> list[list[T]]:
    """Items by budget: steps within a tenth of each other are one, since equal costs are not equal steps."""
    groups: list[list[T]] = []
    for item in sorted(items, key=steps):
        if groups and steps(item) <= 1.1 * steps(groups[-1][0]):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _largest(found: Comparison, arm: Arm) -> list[Trial]:
    """The kept trainings of the arm's largest budget in the rounds; in the search where there were none."""
    kept = _kept(found, arm)
    budgets = _budgets([trial for trial in kept if trial.pair >= 0] or kept, lambda trial: trial.steps)
    return budgets[-1] if budgets else []


def number_section(found: Comparison) -> str:
    target = found.goal.loss is not None
    held = {arm.name: _largest(found, arm) for arm in found.arms}
    spent = {arm.name: arm.reached if target else arm.spent for arm in found.arms}
    costs = [c for c in COSTS.values() if any(c.key in by_cost for by_cost in spent.values())]
    units = {
        c.key: Unit.of(c.units, [by[c.key].estimate for by in spent.values() if c.key in by]) for c in costs
    }
    memory = {name: max((t.outcome.peak_memory for t in trials), default=0) for name, trials in held.items()}
    byte = Unit.of(BYTES, memory.values())
    saved = [c for c in SHOWN if any(c.key in arm.saved for arm in found.arms)]
    head = ["arm", words.unit(found), "parameters", *(units[c.key].heading(c.title) for c in costs)]
    head += [byte.heading("peak memory"), *(_ratio(c) for c in saved)]
    head += [] if target else [f"{words.short_unit(found)} gained"]
    rows = []
    for number, arm in enumerate(found.arms):
        name = html.swatch(number, arm.name) + ("<small>refused</small>" if arm.refused else "")
        cells = [name, html.over_ends(arm.loss, html.nats), f"{arm.parameters:,}"]
        cells += [html.over_ends(spent[arm.name].get(c.key), units[c.key].number) for c in costs]
        cells += [byte.number(memory[arm.name]) if memory[arm.name] else NOTHING]
        cells += [html.over_ends(arm.saved.get(c.key), html.digits) if number else "1" for c in saved]
        cells += [] if target else [html.over_ends(arm.gained, html.change) if number else "0"]
        rows.append(cells)
    floors = sorted(found.floors.items())
    rows += [[f"{gram_name(n)} counts", html.nats(value), *[""] * (len(head) - 2)] for n, value in floors]
    said = "Costs of reaching the goal, interpolated" if target else "Costs as spent"
    note = f"{said}; losses of the largest budget in rounds. Small: 95\N{NO-BREAK SPACE}% intervals."
    return html.section(
        "All numbers", html.element("p", note, "note"), html.grid(head, rows, quiet=len(floors))
    )


def _ratio(cost: Cost) -> str:
    """The heading of a column of ratios: `less time, ×`."""
    return f"{cost.less},\N{NO-BREAK SPACE}×"


def difference_section(found: Comparison) -> str:
    first, others = found.arms[0], found.arms[1:]
    changed = [{change.key: change for change in changes(first.spec, arm.spec)} for arm in others]
    before = {key: change.before for by_key in changed for key, change in by_key.items()}
    before.pop("name", None)  # arms have names of their own
    rows = []
    for key, value in before.items():
        same = escape(_value(value))
        theirs = (f"<b>{escape(_value(c[key].after))}</b>" if key in c else same for c in changed)
        rows.append([escape(key), same, *theirs])
    head = ["key", *(arm.name for arm in found.arms)]
    table = f'<div class="code">{html.grid(head, rows, words=len(head))}</div>'
    specs = [html.folded(f"The whole spec of {arm.name}", spec_text(arm.spec)) for arm in found.arms]
    body = table if rows else html.element("p", "The specs are the same in every key.")
    return html.section("How the specs differ", body if others else "", *specs)


def _value(value: Any) -> str:
    return html.NOTHING if value is ABSENT or value is None else toml_write.inline(value)


def spec_text(tree: Mapping[str, Any]) -> str:
    """HTML of a spec as its file would be; a key that is None is left out."""

    def told(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: told(item) for name, item in value.items() if item is not None}
        return value

    return f"<pre>{escape(toml_write.dumps(told(tree)))}</pre>"


def method_section(found: Comparison) -> str:
    return html.section(
        "How it was measured",
        *(html.element("p", text) for text in words.method_words(found)),
        html.facts(found.machine) if found.machine else "",
        f"<pre>{escape(found.command)}</pre>" if found.command else "",
        html.folded(f"All {len(found.trials)} trainings", _trials(found.trials)) if found.trials else "",
    )


def _trials(trials: Sequence[Trial]) -> str:
    costs = [c for c in COSTS.values() if any(t.cost(c.key) > 0 for t in trials)]
    units = {c.key: Unit.of(c.units, [t.cost(c.key) for t in trials]) for c in costs}
    byte = Unit.of(BYTES, [trial.outcome.peak_memory for trial in trials])
    head = ["arm", "round", "counts", "seed", "steps", "nats a token", "bits a byte"]
    head += [units[c.key].heading(c.title) for c in costs]
    head += [byte.heading("peak memory"), "speed before, s", "speed after, s"]
    rows = [
        [
            escape(t.arm),
            "search" if t.pair < 0 else str(t.pair + 1),
            f"failed: {escape(t.failed)}" if t.failed else "yes" if t.kept else "<b>thrown out</b>",
            str(t.seed),
            f"{t.steps:,}",
            html.nats(t.outcome.loss),
            html.nats(t.outcome.bits_per_byte),
            *(units[c.key].number(spent) if (spent := t.cost(c.key)) > 0 else NOTHING for c in costs),
            byte.number(t.outcome.peak_memory),
            *(html.digits(speed) for speed in t.speed),
        ]
        for t in trials
    ]
    return html.grid(head, rows, words=3)
