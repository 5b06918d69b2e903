"""`--workers` and `--scheduler`: where the trainings of a comparison run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from resnetbk.errors import UserError
from resnetbk_instrument.results.costs import COSTS

if TYPE_CHECKING:
    from resnetbk.registry.lookup import Registry
    from resnetbk.spec.spec import Spec
    from resnetbk.training.signals import Signals
    from resnetbk_instrument.session.journal import Journal
    from resnetbk_instrument.session.plan import Plan, Progress, Train
    from resnetbk_instrument.session.runner import SharedText
    from resnetbk_instrument.session.session import Session

    Begin = Callable[[Plan, Journal, Callable[[Progress], None], Callable[[str], None]], Session]

WORKERS = (
    click.option(
        "--workers", type=click.IntRange(1), metavar="N",
        help="Train in N processes at a time, on CUDA each on its own GPU; where seconds count whole rounds, "
        "which need the GPUs.",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="The same, on the workers of the dask cluster at tcp://HOST:PORT."
    ),
)  # fmt: skip


def exact(equal: str | None) -> bool:
    """Whether a goal counts no seconds, so that workers may share a machine."""
    return equal is not None and COSTS[equal].exact


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Raises UserError for options that do not go together."""
    if workers is not None and scheduler is not None:
        raise UserError("--workers starts a cluster and --scheduler joins one; give one of them")


def check_lengths(variants: Mapping[str, Spec], workers: int | None, scheduler: str | None) -> None:
    """Raises UserError for specs whose steps follow from seconds, where workers train and measure none."""
    if workers is not None or scheduler is not None:
        for name, spec in variants.items():
            if spec.train.steps is None:
                raise UserError(
                    f"{name}: its length is in seconds, which workers do not measure; --set train.steps=N"
                )


def check_undisturbed(workers: int | None, device: str) -> None:
    """Raises UserError for workers that would share this machine's processors where seconds count."""
    if workers is not None and workers > 1 and not device.startswith("cuda"):
        raise UserError(
            f"--workers {workers}: where seconds count each needs a machine or a GPU to itself, and here all "
            f"would share one; give --scheduler, with a worker on each of several machines, or --equal flops "
            f"or tokens"
        )


@contextmanager
def sessions(
    workers: int | None,
    scheduler: str | None,
    timed: bool,
    train: Train,
    signals: Signals,
    registry: Registry,
    device: str,
    text: SharedText,
) -> Iterator[tuple[Begin, dict[str, str]]]:
    """How a session is made, and on what its trainings run: here, by `train`, or on workers, in whole rounds
    where the goal is `timed`. Raises UserError."""
    from resnetbk_instrument.session.runner import machine
    from resnetbk_instrument.session.session import Session

    if workers is None and scheduler is None:
        from resnetbk_instrument.session.calibration import calibration

        measure = calibration(device)
        yield (lambda plan, journal, *told: Session(plan, train, measure, journal, *told)), machine(device)
        return
    from resnetbk_instrument.session import cluster
    from resnetbk_instrument.session.rounds import RoundsElsewhere

    with cluster.told(signals), cluster.workers(workers, scheduler, device) as joined:
        if timed and scheduler:
            joined.check_alone()

        def begin(
            plan: Plan, journal: Journal, watch: Callable[[Progress], None], say: Callable[[str], None]
        ) -> Session:
            if not timed:
                elsewhere = cluster.Elsewhere(joined, signals, registry, text.corpus_sha256)
                return Session(plan, elsewhere, None, journal, watch, say, elsewhere.ahead)
            rounds = RoundsElsewhere(joined, signals, registry, text.corpus_sha256, plan, journal)
            return Session(plan, train, None, journal, watch, say, rounds=rounds)

        yield begin, joined.machine()
