"""`resnetbk compare A.toml B.toml [C...] --target-loss L | --target-accuracy A | --equal COST`"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import attrs
import click

from resnetbk.errors import Mistake, UserError
from resnetbk.registry.lookup import Registry
from resnetbk_instrument.cli import comparing
from resnetbk_instrument.cli.one_process import OneProcess

if TYPE_CHECKING:
    from resnetbk.spec.spec import Spec


@click.command("compare", cls=OneProcess)
@click.argument("specs", nargs=-1, required=True, type=click.Path())
@comparing.options
@click.pass_obj
def command(registry: Registry, /, specs: tuple[str, ...], **given: Any) -> None:
    """What each of SPECS needs to reach the same held-out loss, or reaches with the same budget, beside the
    first of them.

    Every training decays its learning rate to its own end. Variants take turns, with the same seeds; "2.1x"
    is the lower end of a 95 % interval. Files: plan.json, trials.jsonl with a line a training, result.json
    and, with the extra plots, report.html.
    """
    options = comparing.Options(**given)
    if len(specs) < 2:
        raise UserError("compare takes two specs or more; the first is the baseline")
    from resnetbk.spec.read import read

    variants: dict[str, Spec] = {}
    mistakes: list[Mistake] = []
    for path in specs:
        try:
            spec = read(path, registry, options.sets)  # before torch is imported: mistakes answer at once
            variants[_free(spec.name, variants)] = spec
        except UserError as error:
            mistakes += [mistake for mistake in error.mistakes if mistake not in mistakes]
    if mistakes:
        raise UserError(*mistakes)
    for (a, one), (b, other) in itertools.combinations(variants.items(), 2):
        if one == attrs.evolve(other, name=one.name):
            click.echo(f"note: {b} is the same as {a}: what they differ by is noise", err=True)
    more = len(variants) - 3
    shown = [*itertools.islice(variants, 3), *([f"and-{more}-more"] if more > 0 else [])]
    name = f"compare-{'-'.join(shown)}"[:100]
    done = comparing.run(name, variants, options, registry, comparing.command_line("compare", specs, options))
    if done is None:
        return
    from resnetbk_instrument.cli.tables import print_comparison

    comparison, journal = done
    comparing.finish(comparison, journal, lambda: print_comparison(comparison), options.as_json)


def _free(name: str, taken: dict[str, Any]) -> str:
    """A spec may be compared with itself: name, name-2, ..."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
