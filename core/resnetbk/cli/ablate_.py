"""`resnetbk ablate SPEC [--against BASE] --target-loss L | --equal seconds|flops|tokens`"""

from __future__ import annotations

from typing import Any

import click

from resnetbk.cli.comparing import Wishes, command_line, compared, finished, options
from resnetbk.registry.lookup import Registry


@click.command("ablate")
@click.argument("spec")
@click.option(
    "--against", metavar="BASE", help="Take apart what differs from this spec; else from the defaults."
)
@options
@click.pass_obj
def command(registry: Registry, /, spec: str, against: str | None, **given: Any) -> None:
    """What each part of SPEC is worth, alone and in company.

    Trains the spec without any of its parts that are no default, with each alone, with all, and with all but
    each, as one comparison. Never multiplies gains. Files: as of compare.
    """
    wishes = Wishes(**given)
    from resnetbk.measure.factors import design
    from resnetbk.spec.read import read

    whole = read(spec, registry, wishes.sets)
    made = design(whole, read(against, registry, wishes.sets) if against else None, registry)
    more = ("--against", against) if against else ()
    line = command_line("ablate", [spec], wishes, *more)
    done = compared(f"ablate-{whole.name}"[:100], made.arms, wishes, registry, line)
    if done is None:
        return
    from resnetbk.cli.verdicts import print_ablation
    from resnetbk.measure.ablate import ablation

    found = ablation(done.comparison, made, done.comparison.trials)
    finished(found, done, lambda: print_ablation(found), wishes.as_json)
