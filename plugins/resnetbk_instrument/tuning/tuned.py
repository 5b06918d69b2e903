"""The results of a search: the best values of each spec, as a spec."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from resnetbk import toml_places, toml_write
from resnetbk.errors import StorageError, printable
from resnetbk.files import replace_file
from resnetbk.registry.lookup import Registry
from resnetbk.spec.document import Document, Place, from_set, merged
from resnetbk.spec.read import finish, read
from resnetbk_instrument.tuning.layout import edited
from resnetbk_instrument.tuning.quality import minimised, said
from resnetbk_instrument.tuning.ranges import Choices, SearchSpace, Span
from resnetbk_instrument.tuning.studies import OWN, counted

if TYPE_CHECKING:
    from optuna import Study


@attrs.frozen(kw_only=True)
class SearchResult:
    """The result of a spec's search.

    tuned    the spec file with the best values; None when no trial gave a loss
    values   the best, by key
    loss     held-out, in nats/token: mean over the seeds of the best trial; None when there is none
    own      the same of the spec's own values; None where they were outside of the ranges, or diverged
    accuracy of the best trial at held-out labels, as `loss`; None where there are none
    best, as_written  in words, how good the best trial and that of the spec's own values are
    quarter  by key, what the best quarter of the trials have: least and largest, or the values
    edges    keys whose best value lies at an end of their range
    trials   that ended; `failed` of them without a loss; `elsewhere` are still running in other processes
    seconds  of wall time in all trials, set-up and evaluation included
    """

    name: str
    spec: Path
    tuned: Path | None
    values: Mapping[str, Any]
    loss: float | None
    own: float | None
    accuracy: float | None
    best: str | None
    as_written: str | None
    quarter: Mapping[str, tuple[Any, ...]]
    edges: tuple[str, ...]
    trials: int
    failed: int
    elsewhere: int
    seconds: float


def ended(space: SearchSpace, study: Study) -> list[dict[str, Any]]:
    """The trials that ended, in order."""
    records = []
    for number, trial in enumerate(counted(study), 1):
        if trial.state.is_finished():
            values = {key: _plain(space.ranges[key], value) for key, value in trial.params.items()}
            attributes = {k: v for k, v in trial.user_attrs.items() if k not in OWN}
            records.append({"variant": space.name, "trial": number, "values": values, **attributes})
    return records


def _plain(span: Span | Choices, value: Any) -> Any:
    return tomllib.loads(f"value = {value}")["value"] if isinstance(span, Choices) else value


def search_result(
    space: SearchSpace, study: Study, registry: Registry, out: Path, command: str
) -> SearchResult:
    records = ended(space, study)
    good = sorted((r for r in records if "loss" in r), key=lambda record: (minimised(record), record["loss"]))
    own = {key: _plain(space.ranges[key], value) for key, value in space.own().items()}
    best = good[0] if good else None
    as_written = next((r for r in good if r["values"] == own), None)
    failed, seconds = len(records) - len(good), sum(record["seconds"] for record in records)
    path = None
    if best:
        origin = (
            f"held-out {said(best)}, the best of {len(records)} trials ({failed} failed), "
            f"which took {seconds:.0f} s"
        )
        path = _write_tuned(space, best["values"], registry, out, [origin, command])
    return SearchResult(
        name=space.name,
        spec=space.path,
        tuned=path,
        values=best["values"] if best else {},
        loss=best["loss"] if best else None,
        own=as_written["loss"] if as_written else None,
        accuracy=best.get("accuracy") if best else None,
        best=said(best) if best else None,
        as_written=said(as_written) if as_written else None,
        quarter=_quarter(space, good),
        edges=tuple(
            key for key, span in space.ranges.items() if best and _at_edge(span, best["values"][key])
        ),
        trials=len(records),
        failed=failed,
        elsewhere=len(counted(study)) - len(records),
        seconds=seconds,
    )


def _quarter(space: SearchSpace, good: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    values_by_key: dict[str, tuple[Any, ...]] = {}
    for key, span in space.ranges.items() if good else ():
        values = [record["values"][key] for record in good[: -(-len(good) // 4)]]
        spread = (min(values), max(values)) if isinstance(span, Span) else values
        values_by_key[key] = tuple(value for i, value in enumerate(spread) if value not in spread[:i])
    return values_by_key


def _at_edge(span: Span | Choices, value: Any) -> bool:
    """Within a fiftieth of the range from an end of it: what is beyond might be better."""
    if isinstance(span, Choices):
        return False
    low, high, at = np.log((span.low, span.high, value)) if span.log else (span.low, span.high, value)
    return bool(min(at - low, high - at) <= (high - low) / 50)


def _write_tuned(
    space: SearchSpace, values: Mapping[str, Any], registry: Registry, out: Path, comments: Sequence[str]
) -> Path:
    """Writes the spec's file with these values, as it is laid out, and reads it back."""
    name = f"{space.name[:94]}-tuned"
    texts = {key: toml_write.inline(value) for key, value in values.items()}
    assignments = [*space.sets, *(f"{key}={text}" for key, text in texts.items()), f"name={name}"]
    document = Document(toml_places.load(space.path)[0], {}, Place(str(space.path), 0))
    for assignment in assignments:
        document = merged(document, from_set(assignment))
    tree = document.tree
    if "extends" in tree:
        tree["extends"] = os.path.relpath(space.path.parent / tree["extends"], out)
    text = edited(space.path.read_bytes().decode("utf-8-sig"), tree)
    path = out / f"{name}.toml"
    head = "".join(f"# {printable(comment)}\n" for comment in comments if comment)
    replace_file(path, f"{head}\n{text}".encode())
    if read(path, registry) != finish(space.document, registry, assignments):
        raise StorageError(f"{path}: does not say what it should; has {space.path} changed?")
    return path
