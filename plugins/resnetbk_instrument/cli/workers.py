"""`--workers` and `--scheduler`: where the trainings of a comparison run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from resnetbk.errors import UserError
from resnetbk_instrument.results.costs import COSTS

if TYPE_CHECKING:
    from resnetbk.registry.lookup import Registry
    from resnetbk.spec.spec import Spec
    from resnetbk.training.signals import Signals
    from resnetbk_instrument.session.plan import Train
    from resnetbk_instrument.session.runner import SharedText

WORKERS = (
    click.option(
        "--workers", type=click.IntRange(1), metavar="N",
        help="With --equal flops or tokens: train in N processes at a time, on CUDA each on its own GPU.",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="The same, on the workers of the dask cluster at tcp://HOST:PORT."
    ),
)  # fmt: skip


def check_workers(workers: int | None, scheduler: str | None, equal: str | None) -> None:
    """Raises UserError for options that do not go together."""
    if workers is None and scheduler is None:
        return
    if workers is not None and scheduler is not None:
        raise UserError("--workers starts a cluster and --scheduler joins one; give one of them")
    option = "--workers" if scheduler is None else "--scheduler"
    if equal is None or not COSTS[equal].exact:
        raise UserError(
            f"{option}: only with --equal flops or tokens; any other goal measures seconds, which need a "
            f"machine to itself, one training at a time"
        )


def check_lengths(variants: Mapping[str, Spec], workers: int | None, scheduler: str | None) -> None:
    """Raises UserError for specs whose steps follow from seconds, where workers are to train them."""
    if workers is not None or scheduler is not None:
        for name, spec in variants.items():
            if spec.train.steps is None:
                raise UserError(
                    f"{name}: its length is in seconds, which workers do not measure; --set train.steps=N"
                )


@contextmanager
def trainings(
    workers: int | None,
    scheduler: str | None,
    train: Train,
    signals: Signals,
    registry: Registry,
    device: str,
    text: SharedText,
) -> Iterator[tuple[Train, Callable[[], float] | None, Callable[[Sequence[tuple[Spec, int, int]]], None]]]:
    """What a session trains with, how it calibrates, and whom it tells of what comes next: `train` here, or
    workers, without calibration. Raises UserError."""
    if workers is None and scheduler is None:
        from resnetbk_instrument.session.calibration import calibration

        yield train, calibration(device), lambda trainings: None
        return
    from resnetbk_instrument.session import cluster

    with cluster.workers(workers, scheduler, device) as executor:
        elsewhere = cluster.Elsewhere(executor, signals, registry, device, text.corpus_sha256)
        yield elsewhere, None, elsewhere.ahead
