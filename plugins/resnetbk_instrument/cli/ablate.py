"""`resnetbk ablate SPEC [--against BASE] --target-loss L | --equal seconds|flops|tokens`"""

from __future__ import annotations

from typing import Any

import click

from resnetbk.registry.lookup import Registry
from resnetbk_instrument.cli.comparing import Wishes, command_line, compared, finished, options


@click.command("ablate")
@click.argument("spec")
@click.option(
    "--against", metavar="BASE", help="Take apart what differs from this spec; else from the defaults."
)
@click.option(
    "--set-in",
    "own",
    nargs=2,
    multiple=True,
    metavar="ARM KEY=VALUE",
    help='Override a key of one arm: --set-in "all but gate" train.optimizer.lr=0.02.',
)
@options
@click.pass_obj
def command(
    registry: Registry, /, spec: str, against: str | None, own: tuple[tuple[str, str], ...], **given: Any
) -> None:
    """What each part of SPEC is worth, alone and in company.

    Trains the spec without any of its parts that are no default, with each alone, with all, and with all but
    each, as one comparison. Never multiplies gains. An arm may need a setting of its own, such as a learning
    rate or a run with its layers to start from: --set-in. Files: as of compare.
    """
    wishes = Wishes(**given)
    from resnetbk.spec.read import read
    from resnetbk_instrument.results.factors import design

    whole = read(spec, registry, wishes.sets)
    base = read(against, registry, wishes.sets) if against else None
    made = design(whole, base, registry, own)
    more = [*(("--against", against) if against else ()), *(w for one in own for w in ("--set-in", *one))]
    line = command_line("ablate", [spec], wishes, *more)
    done = compared(f"ablate-{whole.name}"[:100], made.arms, wishes, registry, line)
    if done is None:
        return
    from resnetbk_instrument.cli.tables import print_ablation
    from resnetbk_instrument.results.ablate import ablation

    found = ablation(done.comparison, made, done.comparison.trials)
    finished(found, done, lambda: print_ablation(found), wishes.as_json)
