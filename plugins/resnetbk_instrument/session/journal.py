"""The folder of a comparison: `plan.json`, `trials.jsonl` with a line a training, and `result.json`.

A line is on disk before the next training begins, so that whatever ends a comparison, it can go on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import cattrs

from resnetbk.errors import StorageError, UserError
from resnetbk.files import (
    accessing,
    appending,
    read_file,
    replace_own_file,
    spelled,
    with_crc,
    without_crc,
)
from resnetbk.lock.changes import differences
from resnetbk.runs.run_folder import SPEC_LOCK, RunFolder
from resnetbk_instrument.results.comparison import Ablation, Comparison, Trial

PLAN, TRIALS, RESULT = "plan.json", "trials.jsonl", "result.json"
SCHEMA = 3

_CONVERTER = cattrs.Converter()
T = TypeVar("T")


class Journal:
    """What was measured so far. Without a folder it is in memory alone."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises StorageError when what is there is damaged, or of another schema."""
        self.folder = folder
        if folder is not None and os.path.lexists(folder / PLAN):
            _check_schema(_read(folder / PLAN), folder / PLAN)
        self.trials: list[Trial] = [] if folder is None else _read_trials(folder / TRIALS)

    def add(self, *trials: Trial) -> None:
        """Writes a line for each, and waits until they are on disk."""
        self.trials += trials
        if self.folder is None:
            return
        path = self.folder / TRIALS
        with appending(path) as file:
            file.write(b"".join(map(_line, trials)))
            file.flush()
            os.fsync(file.fileno())

    def of_round(self, pair: int) -> list[Trial]:
        """The trainings of a round, but for those of rounds thrown out."""
        return [trial for trial in self.trials if trial.pair == pair and trial.kept]

    def of(self, variant: str, pair: int) -> list[Trial]:
        """Those of one variant."""
        return [trial for trial in self.of_round(pair) if trial.variant == variant]

    def throw_out(self, pair: int) -> None:
        """The round does not count; its lines stay, marked."""
        self._change(pair, lambda trial: attrs.evolve(trial, kept=False))

    def untime(self, pair: int) -> None:
        """The round counts, but for what depends on how fast the machine was."""
        self._change(pair, lambda trial: attrs.evolve(trial, timed=False))

    def _change(self, pair: int, changed: Callable[[Trial], Trial]) -> None:
        self.trials = [
            changed(trial) if trial.pair == pair and trial.kept else trial for trial in self.trials
        ]
        if self.folder is not None:
            replace_own_file(self.folder / TRIALS, b"".join(map(_line, self.trials)))

    def begin(self, plan: Mapping[str, Any], *, resume: bool) -> None:
        """Writes `plan`, plain JSON values; with `resume` compares it with the one that is there.

        Raises UserError with all that has changed since, a line each.
        """
        assert self.folder is not None
        path = self.folder / PLAN
        if resume:
            if not path.is_file():
                raise UserError(f"{self.folder}: no comparison to resume (it has no {PLAN})")
            changed = differences(_read(path), json.loads(json.dumps(plan)))
            if changed:
                start = f"{self.folder}: the comparison has changed since it began: "
                raise UserError(*(start + line for line in changed))
        else:
            replace_own_file(path, _dumped(plan))

    def discard(self) -> None:
        """Removes what it has written, of a comparison without a result."""
        assert self.folder is not None
        with accessing(self.folder):
            for name in (PLAN, TRIALS):
                (self.folder / name).unlink(missing_ok=True)

    def finish(self, result: Comparison | Ablation) -> Path:
        """Writes `result.json`, whole or not at all."""
        assert self.folder is not None
        path = self.folder / RESULT
        replace_own_file(path, _dumped(as_json(result)))
        return path


def as_json(result: Comparison | Ablation) -> dict[str, Any]:
    """As JSON values: `kind` says what it is; numbers that are not finite are spelled as strings."""
    kind = "ablation" if isinstance(result, Ablation) else "comparison"
    tree: dict[str, Any] = spelled(attrs.asdict(result))
    return {"schema": SCHEMA, "kind": kind, **tree}


def run_or_result(folder: Path) -> RunFolder | Comparison | Ablation:
    """What a folder holds. Raises UserError for one that is neither a run nor a comparison, StorageError for
    a damaged one."""
    if (folder / RESULT).is_file() or (folder / PLAN).is_file():
        return read_result(folder)
    if folder.is_dir() and not (folder / SPEC_LOCK).is_file():
        raise UserError(f"{folder}: neither a run (no {SPEC_LOCK}) nor a comparison (no {RESULT})")
    return RunFolder.open(folder)


def read_result(path: Path) -> Comparison | Ablation:
    """The result of a comparison, from its folder or its `result.json`.

    Raises UserError when there is none, StorageError when it is damaged.
    """
    file = path / RESULT if path.is_dir() else path
    if not file.is_file():
        more = "; it is unfinished, go on with --resume" if (path / PLAN).is_file() else ""
        raise UserError(f"{path}: no result of a comparison (no {file.name}){more}")
    tree = _read(file)
    _check_schema(tree, file)
    del tree["schema"]
    result: Comparison | Ablation
    if tree.pop("kind", None) == "ablation":
        result = _structured(tree, Ablation, str(file))
        comparison = result.comparison
    else:
        result = comparison = _structured(tree, Comparison, str(file))
    names = {variant.name for variant in comparison.variants}
    if not names or any(trial.variant not in names for trial in comparison.trials):
        raise StorageError(f"{file}: damaged (its trainings are not of its variants)")
    return result


def _check_schema(tree: Mapping[str, Any], file: Path) -> None:
    if tree.get("schema") != SCHEMA:
        raise StorageError(
            f"{file}: schema {tree.get('schema')}, of another version of resnetbk; this one reads {SCHEMA}"
        )


def _structured(tree: Any, kind: type[T], place: str) -> T:
    try:
        return _CONVERTER.structure(tree, kind)
    except Exception as error:  # cattrs raises groups of whatever its hooks raise
        raise StorageError(f"{place}: damaged (no {kind.__name__})") from error


def _read(path: Path) -> dict[str, Any]:
    tree = without_crc(read_file(path))
    if tree is None:
        raise StorageError(f"{path}: damaged (its crc32 differs)")
    return tree


def _read_trials(path: Path) -> list[Trial]:
    """All whole lines. A last one without its end was cut off by a crash: it is dropped from the file too."""
    if not os.path.lexists(path):
        return []
    data = read_file(path)
    *lines, rest = data.split(b"\n")
    if rest:
        replace_own_file(path, data[: len(data) - len(rest)])
    trials = []
    for number, line in enumerate(lines, 1):
        place = f"{path}:{number}"
        tree = without_crc(line)
        if tree is None:
            raise StorageError(f"{place}: damaged (its crc32 differs)")
        trials.append(_structured(tree, Trial, place))
    return trials


def _line(trial: Trial) -> bytes:
    return json.dumps(with_crc(spelled(attrs.asdict(trial))), allow_nan=False).encode() + b"\n"


def _dumped(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(with_crc(spelled(tree)), indent=1, allow_nan=False).encode() + b"\n"
