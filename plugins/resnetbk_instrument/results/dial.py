"""Comparisons of the same specs at several places of a task's dial."""

from __future__ import annotations

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
    counts = {len(comparison.variants) for comparison in comparisons}
    if len(counts) > 1 or len(results) < 2:
        wrong.append("give two or more comparisons of as many specs each, at different places of the dial")
    if wrong:
        raise UserError(*wrong)
    specs = [comparison.variants[0].spec for comparison in comparisons]
    key = key or _turned(specs)
    values = [
        _number(spec, key, comparison.name) for spec, comparison in zip(specs, comparisons, strict=True)
    ]
    if twice := [value for value in set(values) if values.count(value) > 1]:
        raise UserError(f"{key} = {twice[0]:g} in several of the comparisons: give one for each place")
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
    for part in key.split("."):
        spec = spec.get(part) if isinstance(spec, dict) else None
    if isinstance(spec, bool) or not isinstance(spec, int | float) or spec <= 0:
        raise UserError(f"{name}: {key} = {spec!r} is no number above 0 in its first spec")
    return float(spec)
