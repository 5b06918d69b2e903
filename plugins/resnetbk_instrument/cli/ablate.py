"""`resnetbk ablate SPEC [--against BASE] --target-loss L | --target-accuracy A | --equal COST`"""

from __future__ import annotations

from typing import Any

import click

from resnetbk.registry.lookup import Registry
from resnetbk_instrument.cli import comparing
from resnetbk_instrument.cli.one_process import OneProcess


@click.command("ablate", cls=OneProcess)
@click.argument("spec", type=click.Path())
@click.option(
    "--against", metavar="BASE", help="Take apart what differs from this spec; else from the defaults."
)
@click.option(
    "--set-in",
    "own",
    nargs=2,
    multiple=True,
    metavar="VARIANT KEY=VALUE",
    help='Override a key of one variant: --set-in "all but gate" train.optimizer.lr=0.02.',
)
@comparing.options
@click.pass_obj
def command(
    registry: Registry, /, spec: str, against: str | None, own: tuple[tuple[str, str], ...], **given: Any
) -> None:
    """What each part of SPEC is worth, alone and in combination.

    Trains the spec without any of its parts that are no default, with each alone, with all, and with all but
    each, as one comparison. Never multiplies gains. A variant may need a setting of its own, such as a
    learning rate or a run with its layers to start from: --set-in. Files: as of compare.
    """
    options = comparing.Options(**given)
    from resnetbk.spec.read import read
    from resnetbk_instrument.results.factors import design_ablation

    whole = read(spec, registry, options.sets)
    base = read(against, registry, options.sets) if against else None
    design = design_ablation(whole, base, registry, own)
    more = [*(("--against", against) if against else ()), *(w for one in own for w in ("--set-in", *one))]
    line = comparing.command_line("ablate", [spec], options, *more)
    done = comparing.run(f"ablate-{whole.name}"[:100], design.variants, options, registry, line)
    if done is None:
        return
    from resnetbk_instrument.cli.tables import print_ablation
    from resnetbk_instrument.results.ablate import ablation

    comparison, journal = done
    result = ablation(comparison, design)
    comparing.finish(result, journal, lambda: print_ablation(result), options.as_json)
