"""What `compare` and `ablate` share: their options, the folder, and what is said on the way."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from resnetbk.cli.as_json import print_json
from resnetbk.cli.device_option import device_option
from resnetbk.errors import UserError
from resnetbk_instrument.cli.workers import (
    WORKERS,
    check_lengths,
    check_undisturbed,
    check_workers,
    exact,
    sessions,
)
from resnetbk_instrument.results.costs import TRAINING
from resnetbk_instrument.session.calibration import TOLERANCE
from resnetbk_instrument.session.plan import PAIRS, REACH, Plan

if TYPE_CHECKING:
    from resnetbk.registry.lookup import Registry
    from resnetbk.runs.run_folder import RunFolder
    from resnetbk.spec.spec import Spec
    from resnetbk.training.signals import Interrupted
    from resnetbk_instrument.results.comparison import Ablation, Comparison, Goal
    from resnetbk_instrument.session.journal import Journal

_OPTIONS = (
    click.option(
        "--target-loss", type=float, metavar="L",
        help="The held-out loss to reach: nats/token, or bits/byte if tokenizers differ.",
    ),
    click.option(
        "--target-accuracy", type=click.FloatRange(0, 1, min_open=True), metavar="A",
        help="In a task: the accuracy at held-out labels to reach.",
    ),
    click.option(
        "--equal", type=click.Choice([cost.key for cost in TRAINING]), help="What each may spend as much of."
    ),
    click.option("--budget", type=float, metavar="X", help="With --equal: how much of it."),
    click.option(
        "--pairs", type=click.IntRange(1), default=PAIRS, show_default=True, help="Rounds that count."
    ),
    click.option("--out", metavar="DIR", help="The folder; otherwise one under runs/."),
    click.option("--resume", is_flag=True, help="Go on with what the folder holds."),
    click.option("--dry-run", is_flag=True, help="Say what would be trained, and about how long it takes."),
    click.option("--json", "as_json", is_flag=True, help="For scripts: what result.json holds."),
    click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key of every spec."),
    click.option(
        "--reach", type=click.FloatRange(1), default=REACH, show_default=True,
        help="How many times its own steps a spec may train to reach L.",
    ),
    click.option(
        "--tolerance", type=click.FloatRange(0, min_open=True), default=TOLERANCE, show_default=True,
        help="Change of the machine's speed within a round beyond which its seconds do not count.",
    ),
    device_option,
    *WORKERS,
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Options:
    """What the options say."""

    target_loss: float | None
    target_accuracy: float | None
    equal: Any
    budget: float | None
    pairs: int
    out: str | None
    resume: bool
    dry_run: bool
    as_json: bool
    sets: tuple[str, ...]
    reach: float
    tolerance: float
    device: str
    workers: int | None
    scheduler: str | None

    def __attrs_post_init__(self) -> None:
        if [self.target_loss, self.target_accuracy, self.equal].count(None) != 2:
            budgets = ", ".join(cost.key for cost in TRAINING)
            raise UserError(
                f"equal what? give --target-accuracy A, --target-loss L, or one of --equal {budgets}"
            )
        if self.budget is not None and (self.equal is None or not 0 < self.budget < float("inf")):
            raise UserError("--budget: a number above 0, together with --equal")
        if self.target_loss is not None and not 0 < self.target_loss < float("inf"):
            raise UserError("--target-loss: a number above 0")
        for option, value in (("--reach", self.reach), ("--tolerance", self.tolerance)):
            if not value < 1e6:  # nor what is no number
                raise UserError(f"{option}: a number below a million")
        check_workers(self.workers, self.scheduler)


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of `Options` to a verb, which takes them as keywords."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run(
    name: str, variants: Mapping[str, Spec], options: Options, registry: Registry, command: str
) -> tuple[Comparison, Journal] | None:
    """The comparison and the journal of its folder; for a dry run, says what it would be and returns None.

    Raises UserError, StorageError, and Interrupted with all finished trainings kept. A folder in which
    nothing is worth keeping is gone then.
    """
    from resnetbk_instrument.cli.watcher import Watcher

    timed = not exact(options.equal)
    if not timed:
        check_lengths(variants, options.workers, options.scheduler)
    watcher = Watcher()
    watcher.say("reading the texts and counting n-grams")  # before torch is imported, which takes seconds

    from resnetbk.training.device import find_device
    from resnetbk.training.signals import Interrupted, Signals
    from resnetbk_instrument.results.conclude import conclude
    from resnetbk_instrument.session.journal import Journal
    from resnetbk_instrument.session.runner import plan_facts, runner, shared_text

    device = str(find_device(options.device))
    if timed:
        check_undisturbed(options.workers, device)
    text = shared_text(variants)
    if options.target_accuracy and text.unit != "error rate":
        raise UserError(
            "--target-accuracy: these specs learn a text, which has no labels; give --target-loss"
        )
    plan = Plan(
        name=name, variants=variants, goal=_goal(options, text.unit), pairs=options.pairs,
        reach=options.reach, tolerance=options.tolerance,
    )  # fmt: skip
    with Signals() as signals, ExitStack() as workers:
        train = runner(registry, signals, device, [watcher])
        if options.dry_run:
            from resnetbk_instrument.cli.tables import print_plan
            from resnetbk_instrument.session.estimate import estimate

            print_plan(plan, estimate(plan, train, watcher.watch), options.as_json)
            return None
        begin, ran_on = workers.enter_context(
            sessions(options.workers, options.scheduler, timed, train, signals, registry, device, text)
        )
        there = bool(options.out) and Path(str(options.out)).exists()
        folder = _folder(options, name)
        path = folder.path
        with folder.writing():
            journal = Journal(path)
            journal.begin(plan_facts(plan, registry, text, device), resume=options.resume)
            session = begin(plan, journal, watcher.watch, watcher.say)
            try:
                session.run()
            except BaseException as error:
                keeps = options.resume or _worth_keeping(journal, error)
                if not keeps:
                    journal.discard()
                    folder.discard(keep=there)
                if not isinstance(error, (Interrupted, UserError)):
                    raise
                raise _with_what_is_kept(error, journal, path if keeps else None) from None
            comparison = conclude(
                plan,
                journal,
                session.refused,
                ngram_baseline=text.ngram_baseline,
                machine=ran_on,
                command=command,
            )
    return comparison, journal


def _folder(options: Options, name: str) -> RunFolder:
    """A new folder, or the one to resume: `--out`, else the newest of this name. Raises UserError."""
    from resnetbk.runs.run_folder import RunFolder
    from resnetbk_instrument.session.journal import PLAN

    runs = Path("runs")
    if not options.resume:
        return RunFolder.create(Path(options.out)) if options.out else RunFolder.fresh(runs, name)
    if options.out:
        folders = [Path(options.out)]
    else:
        numbered = re.compile(re.escape(name) + r"(-[0-9]+)?")
        folders = [path for path in runs.glob("*") if numbered.fullmatch(path.name)]
    plans = [path / PLAN for path in folders if (path / PLAN).is_file()]
    if not plans:
        raise UserError(f"{options.out or runs / name}: no comparison to resume (it has no {PLAN})")
    return RunFolder(max(plans, key=lambda plan: plan.stat().st_mtime).parent)


def _worth_keeping(journal: Journal, error: BaseException) -> bool:
    """Of a comparison that `error` ended: not when nothing was trained, nor, when it was refused, the search
    before the rounds, which serves that goal alone."""
    refused = isinstance(error, UserError)
    return any(trial.pair >= 0 or not refused for trial in journal.trials)


def _with_what_is_kept(error: Interrupted | UserError, journal: Journal, kept: Path | None) -> Exception:
    """The error, with what is left of the comparison."""
    from resnetbk.training.signals import Interrupted

    if isinstance(error, Interrupted):
        count = len(journal.trials)
        trained = f"finished trainings kept in {kept}: {count}; --resume goes on"
        said = trained if kept else "nothing was trained yet"
        return Interrupted(error.exit_code - 128, f"interrupted; {said}")
    return UserError(f"{error}; its trainings are in {kept}") if kept else error


def finish(
    result: Comparison | Ablation, journal: Journal, print_table: Callable[[], None], as_json: bool
) -> None:
    """Writes the result and its page, and prints it."""
    from resnetbk_instrument.pages.svg import INSTALL, has_matplotlib
    from resnetbk_instrument.pages.write import write_report
    from resnetbk_instrument.session.journal import as_json as values

    assert journal.folder is not None
    journal.finish(result)
    report = None
    if has_matplotlib():
        report = journal.folder / "report.html"
        write_report(result, report)
    if as_json:
        print_json(values(result))
        return
    print_table()
    again = f"for a report: {INSTALL}, then resnetbk report {shlex.quote(str(journal.folder))}"
    click.echo(f"\nAll trainings are in {journal.folder}; {f'the report is {report}' if report else again}")


def command_line(verb: str, files: Sequence[str], options: Options, *more: str) -> str:
    """The command that asks for this again."""
    words = ["resnetbk", verb, *files, *more]
    if options.target_loss is not None:
        words += ["--target-loss", f"{options.target_loss:g}"]
    if options.target_accuracy is not None:
        words += ["--target-accuracy", f"{options.target_accuracy:g}"]
    if options.equal:
        words += ["--equal", options.equal]
    if options.budget is not None:
        words += ["--budget", f"{options.budget:g}"]
    words += ["--pairs", str(options.pairs)]
    words += [word for assignment in options.sets for word in ("--set", assignment)]
    if options.reach != REACH:
        words += ["--reach", f"{options.reach:g}"]
    if options.tolerance != TOLERANCE:
        words += ["--tolerance", f"{options.tolerance:g}"]
    return shlex.join(words)


def _goal(options: Options, unit: Any) -> Goal:
    from resnetbk_instrument.results.comparison import Goal

    loss = options.target_loss
    if options.target_accuracy is not None:
        loss = 1 - options.target_accuracy
    elif loss is not None and unit == "error rate":
        unit = "nats/token"
    return Goal(loss=loss, equal=options.equal, budget=options.budget, unit=unit)
