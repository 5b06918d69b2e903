"""The page of a dial: what each spec saves beside the first at each place, as curves and in numbers."""

from __future__ import annotations

from resnetbk_instrument.pages import sentences as words
from resnetbk_instrument.pages.curves import Curve, Rule, curves
from resnetbk_instrument.pages.html import Cell, Figure, Table, over_ends, render
from resnetbk_instrument.pages.numbers import certain, digits, times
from resnetbk_instrument.results.costs import COUNT, SHOWN, Cost
from resnetbk_instrument.results.dial import Dial


def dial_page(dial: Dial) -> str:
    costs = [cost for cost in SHOWN if _curves(dial, cost)]
    goal = dial.places[0][1]
    return render(
        "dial",
        title=f"{' and '.join(dial.names[1:])} beside {dial.names[0]}",
        kind="dial",
        key=dial.key,
        goal=words.goal_words(goal),
        names=dial.names,
        pictures=[Figure(_picture(dial, cost), f"{cost.less.capitalize()}, times") for cost in costs],
        numbers=_numbers(dial, costs),
        commands={
            f"{dial.title} = {dial.shown(value)}": comparison.command for value, comparison in dial.places
        },
        machine=goal.machine,
    )


def _curves(dial: Dial, cost: Cost) -> list[Curve]:
    """Of each spec but the first, through the places where it has a number."""
    drawn = []
    for number in range(1, len(dial.names)):
        saved = [(value, c.variants[number].saved.get(cost.key)) for value, c in dial.places]
        points = [
            (value, ratio.estimate, *((ratio.low, ratio.high) if certain(ratio) else [ratio.estimate] * 2))
            for value, ratio in saved
            if ratio
        ]
        if points:
            x, y, low, high = (list(column) for column in zip(*points, strict=True))
            drawn.append(Curve(hue=number, x=x, y=y, low=low, high=high))
    return drawn


def _picture(dial: Dial, cost: Cost) -> str:
    against = Cost(dial.key, dial.title, COUNT[:1])
    equal = [Rule(1.0, "as much", True)]
    return curves(f"dial-{cost.key}", against, cost.less, _curves(dial, cost), equal, shown=times)


def _numbers(dial: Dial, costs: list[Cost]) -> Table:
    rows: list[list[str | Cell]] = []
    for value, comparison in dial.places:
        for number, variant in enumerate(comparison.variants):
            cells: list[str | Cell] = [
                dial.shown(value) if not number else "",
                Cell(dial.names[number], hue=number),
            ]
            if variant.refused:
                cells[1] = Cell(dial.names[number], variant.refused, hue=number)
            saved = [over_ends(variant.saved.get(cost.key), digits) if number else "1" for cost in costs]
            rows.append([*cells, *saved, over_ends(variant.loss, digits)])
    unit = dial.places[0][1].goal.unit
    return Table([dial.title, "variant", *(f"{cost.less}, ×" for cost in costs), unit], rows, words=2)
