"""What `compare` and `ablate` share: their options, the folder, and what is said on the way."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from resnetbk.errors import UserError
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
        help="The held-out loss to reach: nats a token, or bits a byte if tokenizers differ.",
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
        help="Change of the machine's speed within a round that makes it be repeated.",
    ),
    click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Otherwise cuda where there is one."),
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Wishes:
    """What the options say."""

    target_loss: float | None
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
    device: str | None

    def __attrs_post_init__(self) -> None:
        if (self.target_loss is None) == (self.equal is None):
            budgets = ", ".join(cost.key for cost in TRAINING)
            raise UserError(f"equal what? give --target-loss L, or one of --equal {budgets}")
        if self.budget is not None and (self.equal is None or not 0 < self.budget < float("inf")):
            raise UserError("--budget: a number above 0, together with --equal")
        if self.target_loss is not None and not 0 < self.target_loss < float("inf"):
            raise UserError("--target-loss: a number above 0")
        for option, value in (("--reach", self.reach), ("--tolerance", self.tolerance)):
            if not value < 1e6:  # nor what is no number
                raise UserError(f"{option}: a number below a million")


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of `Wishes` to a verb, which takes them as keywords."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@attrs.frozen
class Made:
    """A comparison that was made: its plan, raw results and summary."""

    plan: Plan
    journal: Journal
    refused: Mapping[str, str]
    comparison: Comparison
    folder: Path


def compared(
    name: str, arms: Mapping[str, Spec], wishes: Wishes, registry: Registry, command: str
) -> Made | None:
    """Makes the comparison in its folder, or, for a dry run, says what it would be and gives None.

    Raises UserError, StorageError, and Interrupted with all finished trainings kept. A folder in which
    nothing is worth keeping is gone then.
    """
    from resnetbk.training.device import find_device
    from resnetbk.training.signals import Interrupted, Signals
    from resnetbk_instrument.cli.watcher import Watcher
    from resnetbk_instrument.results.conclude import conclude
    from resnetbk_instrument.session.calibration import calibration
    from resnetbk_instrument.session.journal import Journal
    from resnetbk_instrument.session.runner import common_ground, machine, plan_facts, runner
    from resnetbk_instrument.session.session import Session

    device = find_device(wishes.device).type
    ground = common_ground(arms)
    plan = Plan(
        name=name, arms=arms, goal=_goal(wishes, ground.unit), pairs=wishes.pairs, reach=wishes.reach,
        tolerance=wishes.tolerance,
    )  # fmt: skip
    with Signals() as signals:
        train = runner(registry, signals, device)
        if wishes.dry_run:
            from resnetbk_instrument.cli.tables import print_plan
            from resnetbk_instrument.session.estimate import estimate

            print_plan(plan, estimate(plan, train), wishes.as_json)
            return None
        there = bool(wishes.out) and Path(str(wishes.out)).exists()
        folder = _folder(wishes, name)
        path = folder.path
        with folder.writing():
            journal = Journal(path)
            journal.begin(plan_facts(plan, registry, ground, device), resume=wishes.resume)
            watcher = Watcher()
            session = Session(plan, train, calibration(device), journal, watcher.watch, watcher.say)
            try:
                session.run()
            except BaseException as error:
                keeps = wishes.resume or _worth_keeping(journal, error)
                if not keeps:
                    journal.discard()
                    folder.discard(keep=there)
                if not isinstance(error, (Interrupted, UserError)):
                    raise
                raise _said(error, journal, path if keeps else None) from None
            found = conclude(
                plan, journal, session.refused, floors=ground.floors, machine=machine(device), command=command
            )
    return Made(plan, journal, session.refused, found, path)


def _folder(wishes: Wishes, name: str) -> RunFolder:
    """A new folder, or the one to resume: `--out`, else the newest of this name. Raises UserError."""
    from resnetbk.runs.run_folder import RunFolder
    from resnetbk_instrument.session.journal import PLAN

    runs = Path("runs")
    if not wishes.resume:
        return RunFolder.create(Path(wishes.out)) if wishes.out else RunFolder.fresh(runs, name)
    if wishes.out:
        found = [Path(wishes.out)]
    else:
        numbered = re.compile(re.escape(name) + r"(-[0-9]+)?")
        found = [path for path in runs.glob("*") if numbered.fullmatch(path.name)]
    plans = [path / PLAN for path in found if (path / PLAN).is_file()]
    if not plans:
        raise UserError(f"{wishes.out or runs / name}: no comparison to resume (it has no {PLAN})")
    return RunFolder(max(plans, key=lambda plan: plan.stat().st_mtime).parent)


def _worth_keeping(journal: Journal, error: BaseException) -> bool:
    """Of a comparison that `error` ended: not when nothing was trained, nor, when it was refused, the search
    before the rounds, which serves that goal alone."""
    refused = isinstance(error, UserError)
    return any(trial.pair >= 0 or not refused for trial in journal.trials)


def _said(error: Interrupted | UserError, journal: Journal, kept: Path | None) -> Exception:
    """The error, with what is left of the comparison."""
    from resnetbk.training.signals import Interrupted

    if isinstance(error, Interrupted):
        count = len(journal.trials)
        trained = f"finished trainings kept in {kept}: {count}; --resume goes on"
        said = trained if kept else "nothing was trained yet"
        return Interrupted(error.exit_code - 128, f"interrupted; {said}")
    return UserError(f"{error}; its trainings are in {kept}") if kept else error


def finished(
    found: Comparison | Ablation, made: Made, print_table: Callable[[], None], as_json: bool
) -> None:
    """Writes the result and its page, and prints it."""
    import json

    from resnetbk_instrument.pages.svg import has_matplotlib
    from resnetbk_instrument.pages.write import write_report
    from resnetbk_instrument.session.journal import as_json as values

    made.journal.finish(found)
    report = None
    if has_matplotlib():
        report = made.folder / "report.html"
        write_report(found, report)
    if as_json:
        click.echo(json.dumps(values(found), allow_nan=False))
        return
    print_table()
    click.echo(f"\nAll trainings are in {made.folder}", nl=False)
    click.echo(f", the report is {report}" if report else '; for a report: pip install "resnetbk[plots]"')


def command_line(verb: str, files: Sequence[str], wishes: Wishes, *more: str) -> str:
    """The command that asks for this again."""
    words = ["resnetbk", verb, *files, *more]
    if wishes.target_loss is not None:
        words += ["--target-loss", f"{wishes.target_loss:g}"]
    if wishes.equal:
        words += ["--equal", wishes.equal]
    if wishes.budget is not None:
        words += ["--budget", f"{wishes.budget:g}"]
    words += ["--pairs", str(wishes.pairs)]
    words += [word for assignment in wishes.sets for word in ("--set", assignment)]
    if wishes.reach != REACH:
        words += ["--reach", f"{wishes.reach:g}"]
    if wishes.tolerance != TOLERANCE:
        words += ["--tolerance", f"{wishes.tolerance:g}"]
    return shlex.join(words)


def _goal(wishes: Wishes, unit: Any) -> Goal:
    from resnetbk_instrument.results.comparison import Goal

    return Goal(loss=wishes.target_loss, equal=wishes.equal, budget=wishes.budget, unit=unit)
