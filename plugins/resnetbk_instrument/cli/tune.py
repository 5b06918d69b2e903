"""`resnetbk tune SPEC... --range KEY=LO:HI[:log] --trials n`"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.cli.device_option import device_option
from resnetbk.errors import NumericError
from resnetbk.registry.lookup import Registry
from resnetbk_instrument.cli.one_process import OneProcess
from resnetbk_instrument.tuning.ranges import Span

if TYPE_CHECKING:
    from resnetbk_instrument.tuning.ranges import SearchSpace
    from resnetbk_instrument.tuning.tuned import SearchResult


@click.command("tune", cls=OneProcess)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=click.Path())
@click.option(
    "--range", "ranges", multiple=True, required=True, metavar="[SPEC:]KEY=RANGE",
    help="LO:HI, LO:HI:log or a,b,c; of every SPEC with that key, or of one; repeatable.",
)  # fmt: skip
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="For each SPEC.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True,
    help="Trainings in a trial, whose losses are averaged.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the search.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")
@click.option(
    "--storage", metavar="URL",
    help="A database that several machines share, or journal:FILE; else SQLite in DIR.",
)  # fmt: skip
@click.option("--out", metavar="DIR", help="Otherwise tuned/ and the name of the first SPEC.")
@device_option
@json_option
@click.pass_obj
def command(
    registry: Registry,
    specs: tuple[str, ...],
    ranges: tuple[str, ...],
    trials: int,
    seeds: int,
    seed: int,
    sets: tuple[str, ...],
    storage: str | None,
    out: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Searches settings of each SPEC, all with the same number of trials, and writes the best as specs.

    Each trial is a training as SPEC describes it, judged by its held-out loss, in a task by accuracy at
    labels; where SPEC has a target, by the FLOPs to reach it. The same command again goes on where it was
    interrupted, with more --trials beyond; run at the same time, it shares the work.
    """
    from resnetbk_instrument.tuning.ranges import search_spaces

    spaces = search_spaces(specs, ranges, registry, sets)  # before torch is imported: mistakes answer at once

    from resnetbk_instrument.cli.watcher import Watcher

    watcher = Watcher()
    watcher.say("reading the texts")  # before torch is imported, which takes seconds

    from resnetbk.training.device import at, find_device
    from resnetbk_instrument.tuning.tune import Search, tune

    options = [("--range", text) for text in ranges] + [("--set", text) for text in sets]
    options += [("--trials", str(trials)), ("--seeds", str(seeds)), ("--seed", str(seed))]
    words = ["resnetbk", "tune", *specs, *(word for option in options for word in option)]
    folder = Path(out) if out else Path("tuned", spaces[0].name)
    with at(find_device(device)):
        results = tune(
            spaces,
            Search(trials=trials, seeds=seeds, seed=seed),
            registry,
            folder,
            storage=storage,
            command=shlex.join(words),
            watcher=watcher,
        )
    if as_json:
        print_json([_plain(result) for result in results])
    else:
        _print(spaces, results)
    lost = [result for result in results if result.loss is None and not result.elsewhere]
    if lost:
        said = (f"{r.name}: none of {r.trials} trials gave a loss; see {folder}/trials.jsonl" for r in lost)
        raise NumericError("\n".join(said))


def _plain(result: SearchResult) -> dict[str, Any]:
    import attrs

    plain = attrs.asdict(result)
    return {**plain, "spec": str(result.spec), "tuned": result.tuned and str(result.tuned)}


def _print(spaces: tuple[SearchSpace, ...], results: list[SearchResult]) -> None:
    from rich.console import Console

    from resnetbk.cli.tables import table

    console = Console(highlight=False)
    summary = table("variant", "best", "as written", "trials", "failed", "seconds")
    settings = table("variant", "key", "best", "best quarter", "searched", left=range(5), whole=(1,))
    for space, result in zip(spaces, results, strict=True):
        counts = (str(result.trials), str(result.failed), f"{result.seconds:.0f}")
        summary.add_row(result.name, result.best or "-", result.as_written or "-", *counts)
        name = result.name
        for key, span in space.ranges.items():
            best = _shown(result.values.get(key)) + ", at the end" * (key in result.edges)
            quarter = (" to " if isinstance(span, Span) else ", ").join(
                map(_shown, result.quarter.get(key, ()))
            )
            settings.add_row(name, key, best, quarter, str(span))
            name = ""
    console.print(summary)
    console.print()
    console.print(settings)
    for result in results:
        if result.elsewhere:
            wait = "the same command takes them in when they are done"
            click.echo(
                f"\n{result.name}: trials still running in other processes: {result.elsewhere}; {wait}"
            )
        if result.tuned:
            click.echo(f"\n{result.name}: its best settings are in {result.tuned}")


def _shown(value: Any) -> str:
    from resnetbk import toml_write

    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else toml_write.inline(value)
