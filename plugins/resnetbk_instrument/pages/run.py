"""The page of a run, from its folder alone: finished or not, and of older versions too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from resnetbk.runs import spec_lock
from resnetbk.runs.run_folder import RunFolder
from resnetbk_instrument.pages.bars import Phases, phases
from resnetbk_instrument.pages.curves import Curve, baseline_rules, curves
from resnetbk_instrument.pages.html import Figure, Table, render, spec_text
from resnetbk_instrument.pages.numbers import NOTHING, amount, digits, nats, signed
from resnetbk_instrument.pages.sentences import Claim, baseline_words
from resnetbk_instrument.results.costs import BYTES, COSTS, TRAINING, Cost

Line = Mapping[str, Any]

POINTS = 160
"""Of a curve, at most: neighbouring steps are put together."""

_WHY = {"steps": "all steps done", "seconds": "time was up", "target": "target reached"}


def run_page(folder: RunFolder, ngram_baseline: Mapping[int, float]) -> str:
    """Raises UserError where there is no run, StorageError when it is damaged."""
    lock = spec_lock.load(RunFolder.open(folder.path))
    lines = [line for line in folder.metrics() if "step" in line]
    steps = [line for line in lines if line.get("event") == "step"]
    held_out = [line for line in lines if line.get("event") == "evaluation"]
    end = next((line for line in reversed(lines) if line.get("event") == "finished"), None)
    measured = end or (held_out[-1] if held_out else None)
    return render(
        "run",
        title=str(lock["spec"].get("name", folder.path.name)),
        kind="run",
        headline=_headline(measured, end),
        aside=_aside(steps, measured, end, ngram_baseline),
        ngram_baseline=baseline_words(ngram_baseline),
        losses=_losses(steps, held_out, end, ngram_baseline),
        accuracies=_accuracies(steps, held_out, end),
        groups=_groups(measured),
        phases=_phases(end),
        course=_course(steps),
        numbers=_numbers(steps, end),
        machine={str(name): str(said) for name, said in lock["environment"].items()},
        spec=spec_text(lock["spec"]),
        components=_components(lock),
    )


def _headline(measured: Line | None, end: Line | None) -> Claim:
    if measured is None:
        return Claim("Nothing was measured on held-out text yet.")
    bits = f", {_number(measured, 'bits_per_byte'):.3f} bits/byte" if "bits_per_byte" in measured else ""
    if measured.get("accuracy") is not None:  # of a task
        bits = f" and accuracy {_number(measured, 'accuracy'):.4f} at labels"
    after = f", after {amount(COSTS['seconds'].units, _number(end, 'seconds'))} of training" if end else ""
    return Claim("Held-out loss ", f"{nats(_number(measured, 'loss'))} nats/token", f"{bits}{after}.")


def _aside(
    steps: Sequence[Line], measured: Line | None, end: Line | None, ngram_baseline: Mapping[int, float]
) -> str:
    """How it stands beside counting, and how it ended."""
    said = []
    if ngram_baseline and measured is not None:
        order = max(ngram_baseline)
        below = ngram_baseline[order] - _number(measured, "loss")
        if math.isfinite(below):
            side = "below" if below >= 0 else "above"
            said.append(f"That is {nats(abs(below))} nats {side} what counting {order}-grams reaches.")
    if end is not None:
        said.append(f"It ended with {_WHY.get(str(end.get('stopped')), str(end.get('stopped')))}.")
    else:
        done = steps[-1].get("step", 0) if steps else 0
        said.append(f"The run is not finished; {done:,} steps are done.")
    return " ".join(said)


# ---------------------------------------------------------------- pictures


def _losses(
    steps: Sequence[Line], held_out: Sequence[Line], end: Line | None, ngram_baseline: Mapping[int, float]
) -> list[Figure]:
    figures = []
    for cost in TRAINING:
        lines = [
            _curve(steps, cost, lambda line: _number(line, "loss"), 0, band=True, strong=False),
            _measured(steps, held_out, end, cost, "loss"),
        ]
        picture = curves(
            f"loss-{cost.key}", cost, "Loss in nats/token", lines, baseline_rules(ngram_baseline)
        )
        figures.append(Figure(picture, f"Against {cost.title}"))
    return [figure for figure in figures if figure.picture]


def _accuracies(steps: Sequence[Line], held_out: Sequence[Line], end: Line | None) -> list[Figure]:
    """Of a task, at held-out labels."""
    figures = []
    for cost in TRAINING:
        line = _measured(steps, held_out, end, cost, "accuracy")
        picture = curves(f"accuracy-{cost.key}", cost, "Accuracy at held-out labels", [line])
        figures.append(Figure(picture, f"Against {cost.title}"))
    return [figure for figure in figures if figure.picture]


def _measured(
    steps: Sequence[Line], held_out: Sequence[Line], end: Line | None, cost: Cost, value: str
) -> Curve:
    """What evaluations gave, against what had been spent."""
    at = {line["step"]: line for line in steps}
    measured = {line["step"]: line for line in (*held_out, *([end] if end else []))}
    points = [(at[step], line) for step, line in sorted(measured.items()) if step in at]
    return Curve(
        hue=1, x=[_number(at, cost.key) for at, _ in points], y=[_number(line, value) for _, line in points]
    )


def _groups(measured: Line | None) -> Table:
    """Accuracy by the group of labels, or loss by the part of a text, as measured last."""
    measured = measured or {}
    groups = measured.get("groups") or {}
    names = ["part", "nats/token"] if measured.get("accuracy") is None else ["labels", "accuracy"]
    return Table(names, [[str(name), f"{_number(groups, name):.4f}"] for name in groups])


def _course(steps: Sequence[Line]) -> list[Figure]:
    """How training went: learning rate, gradient, penalties, and the share of rows that layers computed."""
    drawn: list[tuple[str, list[Curve], Callable[[float], str]]] = [
        ("Learning rate", [_curve(steps, None, lambda line: _number(line, "rate"), 1)], _plain),
        (
            "Norm of the gradient",
            [_curve(steps, None, lambda line: _number(line, "gradient_norm"), 1, band=True)],
            _plain,
        ),
    ]
    names = dict.fromkeys(name for line in steps for name in line.get("penalties", {}))
    for name in names:
        drawn.append((f"Penalty: {name}", [_curve(steps, None, partial(_penalty, name), 1)], _plain))
    shares = [line["rows"] for line in steps if line.get("rows")]
    depth = max(map(len, shares), default=0)
    if any(share < 1 for row in shares for share in row):
        layers = [
            _curve(steps, None, partial(_share, layer), layer + 1, label=_layer(layer, depth))
            for layer in range(depth)
        ]
        drawn.append(("Share of rows computed", layers, lambda share: f"{100 * share:.0f} %"))
    figures = (
        Figure(curves(f"course-{number}", None, title, lines, shown=shown, height=200.0), title)
        for number, (title, lines, shown) in enumerate(drawn)
    )
    return [figure for figure in figures if figure.picture]


def _layer(layer: int, depth: int) -> str:
    """The label of a layer; of many, the first and the last have one."""
    return f"layer {layer + 1}" if depth <= 6 or layer in (0, depth - 1) else ""


def _curve(
    steps: Sequence[Line],
    cost: Cost | None,
    value: Callable[[Line], float],
    hue: int,
    *,
    band: bool = False,
    strong: bool = True,
    label: str = "",
) -> Curve:
    """`value` against a cost, or the number of steps; put together to POINTS at most, evenly on the axis."""
    place: Callable[[float], float] = math.log if cost else float
    key = cost.key if cost else "step"
    points = [(_number(line, key), value(line)) for line in steps]
    sound = [(x, y) for x, y in points if x > 0 and math.isfinite(x) and math.isfinite(y)]
    groups: dict[int, list[tuple[float, float]]] = {}
    if sound:
        first, last = place(sound[0][0]), place(max(x for x, _ in sound))
        for x, y in sound:
            share = (place(x) - first) / (last - first) if last > first else 0.0
            groups.setdefault(round(share * (POINTS - 1)), []).append((x, y))
    columns = [
        (group[-1][0], sum(values) / len(values), min(values), max(values))
        for _, group in sorted(groups.items())
        for values in [[y for _, y in group]]
    ]
    xs, ys, low, high = ([column[i] for column in columns] for i in range(4))
    curve = Curve(hue=hue, x=xs, y=ys, marked=len(xs) == 1, strong=strong, label=label)
    return attrs.evolve(curve, low=low, high=high) if band else curve


def _phases(end: Line | None) -> Phases | None:
    costs = (end or {}).get("phases") or {}
    parts = {
        str(name): _number(cost, "seconds") if isinstance(cost, Mapping) else _number(costs, name)
        for name, cost in costs.items()
    }
    return phases([("wall time", 0, parts)], "Evaluation is the instrument's own, and no cost of the spec.")


# ---------------------------------------------------------------- numbers


def _numbers(steps: Sequence[Line], end: Line | None) -> dict[str, str]:
    """What is known of the last line."""
    last = {**(steps[-1] if steps else {}), **(end or {})}
    costs = [cost for cost in COSTS.values() if not cost.inference]
    spent = {cost.title: amount(cost.units, _number(last, cost.key)) for cost in costs}
    seconds, tokens = _number(last, "seconds"), _number(last, "tokens")
    numbers = {
        "parameters": _whole(last, "parameters"),
        "steps": _whole(last, "step"),
        "time of steps": spent.pop(COSTS["seconds"].title),
        **spent,
        "tokens": _whole(last, "tokens"),  # every one of them
        "peak memory": amount(BYTES, _number(last, "peak_memory")),
        "tokens/s": digits(tokens / seconds if seconds > 0 else math.nan),
    }
    return {name: said for name, said in numbers.items() if said != NOTHING}


def _components(lock: Mapping[str, Any]) -> Table:
    rows = [
        [
            key,
            str(source.get("plugin", NOTHING)),
            str(source.get("version", NOTHING)),
            str(source.get("sha256", NOTHING))[:16],
        ]
        for key, source in lock["components"].items()
        if isinstance(source, Mapping)
    ]
    return Table(["key", "plugin", "version", "sha256 of the source"], rows, words=4)


def _plain(value: float) -> str:
    return signed(f"{value:g}")


def _number(line: Mapping[str, Any], name: str) -> float:
    """A number of a line; NaN where it is missing, as in lines of older versions, or no number."""
    value = line.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _penalty(name: str, line: Line) -> float:
    return _number(line.get("penalties", {}), name)


def _share(layer: int, line: Line) -> float:
    """Of the rows of a layer, those that it computed."""
    rows = line.get("rows") or ()
    return float(rows[layer]) if layer < len(rows) else math.nan


def _whole(line: Line, name: str) -> str:
    value = _number(line, name)
    return f"{value:,.0f}" if math.isfinite(value) else NOTHING
