"""Comparisons of the same specs at several places of a task's dial."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from resnetbk.errors import UserError
from resnetbk.lock.changes import changes
from resnetbk_instrument.results.comparison import Ablation, Comparison

CORPUS = "data.corpus."


@attrs.frozen
class Dial:
    """The key of the specs that was turned, what the variants are called, and the comparison at each place,
    in the order of its values."""

    key: str
    names: tuple[str, ...]
    places: tuple[tuple[float, Comparison], ...]

    @staticmethod
    def shown(value: float) -> str:
        return f"{value:,.12g}"

    @property
    def title(self) -> str:
        """The last word of the key."""
        return self.key.rpartition(".")[2]


def dial(results: Sequence[Comparison | Ablation], key: str = "") -> Dial:
    """By `key`, or by what differs in the corpus. Raises UserError, a line for each mistake."""
    wrong = [
        f"{r.comparison.name}: is an ablation; give comparisons" for r in results if isinstance(r, Ablation)
    ]
    comparisons = [result for result in results if isinstance(result, Comparison)]
    wrong += [
        f"{c.name}: is no comparison to a target, at which costs are saved"
        for c in comparisons
        if c.goal.loss is None
    ]
    alike = {(tuple(v.name for v in c.variants), c.goal.loss, c.goal.unit) for c in comparisons}
    if len(alike) > 1 or len(results) < 2:
        wrong.append(
            "give two or more comparisons of specs with the same names to the same target, at several "
            "places of the dial"
        )
    if wrong:
        raise UserError(*wrong)
    specs = [comparison.variants[0].spec for comparison in comparisons]
    key = key or _turned(specs)
    values = [
        _number(spec, key, comparison.name) for spec, comparison in zip(specs, comparisons, strict=True)
    ]
    if twice := [value for value in set(values) if values.count(value) > 1]:
        raise UserError(
            f"{key} = {Dial.shown(twice[0])} in several of the comparisons: give one for each place"
        )
    places = sorted(zip(values, comparisons, strict=True), key=lambda place: place[0])
    return Dial(key, tuple(variant.name for variant in places[0][1].variants), tuple(places))


def _turned(specs: Sequence[Any]) -> str:
    """The number of the corpus that differs. Raises UserError for none, and for several."""
    differ = dict.fromkeys(change.key for spec in specs[1:] for change in changes(specs[0], spec))
    turned = [key for key in differ if key.startswith(CORPUS)]
    if len(corpora := {spec["data"]["corpus"]["use"] for spec in specs}) > 1:
        raise UserError(
            f"the comparisons are of several corpora, {', '.join(sorted(corpora))}: give those of one"
        )
    if len(turned) != 1:
        what = f"differ in {', '.join(turned)}" if turned else "have the same corpus"
        other = turned or [key for key in differ if key != "name"]
        raise UserError(f"the comparisons {what}: give the dial's key, such as --key {(other or ['KEY'])[0]}")
    return turned[0]


def _number(spec: Any, key: str, name: str) -> float:
    for part in re.findall(r"[^.\[\]]+", key):  # as in data.corpus.parts[0].length
        try:
            spec = spec[int(part) if isinstance(spec, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise UserError(f"{name}: its first spec has no {key}") from None
    if isinstance(spec, bool) or not isinstance(spec, int | float) or spec < 0:
        raise UserError(f"{name}: {key} = {spec!r} in its first spec is no number from 0 up")
    return float(spec)
