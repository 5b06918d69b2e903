"""`resnetbk runs [DIR] [--json]`"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.errors import ResnetbkError, UserError, printable


@attrs.frozen(kw_only=True)
class RunRow:
    """A run as its folder tells it; of a damaged one, `run` and `damaged` alone.

    run            its folder
    damaged        what is wrong with it, in one line
    name           of its spec
    when           last written to: an instant of ISO 8601, in UTC
    step           the last one recorded
    ended          why: `steps`, `seconds` or `target`; None while it trains, and after an interruption
    loss           the last on held-out text, in nats/token; bits_per_byte as well
    accuracy       the last at held-out labels; None where there are none
    parameters     how many are trained, known at the end
    seconds        spent on steps
    differs        the keys of its spec that are not the same in all runs, with their values
    """

    run: str
    damaged: str | None = None
    name: str | None = None
    when: str | None = None
    step: int | None = None
    ended: str | None = None
    loss: float | None = None
    bits_per_byte: float | None = None
    accuracy: float | None = None
    parameters: int | None = None
    seconds: float | None = None
    differs: Mapping[str, Any] = attrs.field(factory=dict)


@click.command("runs")
@click.argument("folder", metavar="[DIR]", default="runs", type=click.Path(path_type=Path))
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Lists the runs in DIR and the folders below it, the oldest first: how each ended, with which loss, and
    in which keys their specs differ. DIR is `runs` unless given."""
    rows = read_runs(folder)
    if as_json:
        print_json([attrs.asdict(row) for row in rows])
    else:
        _print(rows, folder)


def read_runs(folder: Path) -> list[RunRow]:
    """The runs in `folder` and below, oldest first, then the damaged ones; links are not followed. Raises
    UserError without a folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the one that your runs are in: resnetbk runs DIR")
    unreadable: list[OSError] = []
    sound: list[tuple[RunRow, Mapping[str, Any]]] = []
    damaged: list[RunRow] = []
    for path in _run_folders(folder, unreadable.append):
        try:
            sound.append(_read(path))
        except ResnetbkError as error:
            damaged.append(RunRow(run=str(path), damaged=printable(str(error))))
    damaged += [
        RunRow(
            run=str(error.filename), damaged=printable(f"{error.filename}: cannot be read ({error.strerror})")
        )
        for error in unreadable
    ]
    differing = _differing([spec for _, spec in sound])
    rows = [
        attrs.evolve(row, differs={key: spec[key] for key in differing if key in spec}) for row, spec in sound
    ]
    return [*sorted(rows, key=lambda row: (row.when, row.run)), *sorted(damaged, key=lambda row: row.run)]


def _run_folders(folder: Path, unreadable: Callable[[OSError], object]) -> Iterator[Path]:
    """Folders with what a run leaves, even if it has lost its spec."""
    from resnetbk.runs.run_folder import CHECKPOINTS, SPEC_LOCK

    for path, folders, files in os.walk(folder, onerror=unreadable):
        if SPEC_LOCK in files or "metrics.jsonl" in files or CHECKPOINTS in folders:
            yield Path(path)
            folders.clear()


def _read(path: Path) -> tuple[RunRow, Mapping[str, Any]]:
    """A run, and its spec by keys such as `model.width`. Raises StorageError."""
    from resnetbk.files import accessing
    from resnetbk.lock.changes import changes
    from resnetbk.runs import spec_lock
    from resnetbk.runs.run_folder import RunFolder

    folder = RunFolder.open(path)
    spec = {change.key: change.after for change in changes({}, spec_lock.load(folder)["spec"])}
    records = folder.metrics()
    last = {event: _last(records, event) for event in ("step", "evaluation", "finished")}
    tested = last["finished"] or last["evaluation"]
    steps = last["finished"] or last["step"]
    with accessing(path, "read"):
        written = (folder.metrics_file if records else folder.spec_lock).stat().st_mtime
    row = RunRow(
        run=str(path),
        name=printable(str(spec.pop("name", ""))),
        when=datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"),
        step=_number(steps, "step"),
        ended=printable(str(last["finished"]["stopped"])) if "stopped" in last["finished"] else None,
        loss=_number(tested, "loss"),
        bits_per_byte=_number(tested, "bits_per_byte"),
        accuracy=_number(tested, "accuracy"),
        parameters=_number(last["finished"], "parameters"),
        seconds=_number(steps, "seconds"),
    )
    return row, spec


def _last(records: Sequence[Mapping[str, Any]], event: str) -> Mapping[str, Any]:
    return next((record for record in reversed(records) if record.get("event") == event), {})


def _number(record: Mapping[str, Any], key: str) -> Any:
    """None where there is none: the file may be of another program."""
    value = record.get(key)
    return value if isinstance(value, (int, float)) else None


def _differing(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that are not in all specs with the same value."""
    keys = dict.fromkeys(key for spec in specs for key in spec)
    return [key for key in keys if any(key not in spec or spec[key] != specs[0].get(key) for spec in specs)]


def _print(rows: Sequence[RunRow], folder: Path) -> None:
    from rich.console import Console
    from rich.markup import escape

    from resnetbk.cli.tables import table
    from resnetbk.lock.changes import shown

    console = Console(highlight=False)
    sound = [row for row in rows if row.damaged is None]
    names = {row.run: escape(printable(os.path.relpath(row.run, folder))) for row in sound}
    of_tasks = any(row.accuracy is not None for row in sound)
    quality = ("nats/token", "bits/byte", *["accuracy"] * of_tasks)
    headings = ("run", "last written", "step", "ended", *quality, "parameters", "seconds")
    results = table(*headings, left=(0, 1, 3), whole=range(len(headings)))
    differences = table("run", "differs in", left=(0, 1), whole=(0,))
    for row in sound:
        when = datetime.fromisoformat(str(row.when)).astimezone().strftime("%Y-%m-%d %H:%M")
        measured = (row.loss, row.bits_per_byte, *[row.accuracy] * of_tasks)
        costs = (_shown(row.parameters, ",.0f"), _shown(row.seconds, ",.0f"))
        shown_quality = (_shown(value, ".4f") for value in measured)
        results.add_row(
            names[row.run], when, _shown(row.step, ",.0f"), escape(row.ended or "-"), *shown_quality, *costs
        )
        values = ", ".join(f"{key} = {shown(value)}" for key, value in row.differs.items())
        if values:
            differences.add_row(names[row.run], escape(printable(values)))
    if sound:
        # No number is cut off: where the terminal is too narrow, it is the terminal that breaks lines.
        wide = console.options.update(width=10_000)
        needed = console.measure(results, options=wide).maximum
        Console(highlight=False, width=max(console.width, needed)).print(results)
    if differences.rows:
        console.print()
        console.print(differences)
    for row in rows:
        if row.damaged is not None:
            click.echo(f"damaged: {row.damaged}")
    if not rows:
        click.echo(f"no runs in {printable(str(folder))}")


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
