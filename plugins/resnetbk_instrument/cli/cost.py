"""`resnetbk cost SPEC [--set k=v] [--steps n] [--json]`"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from resnetbk.registry.lookup import Registry

if TYPE_CHECKING:
    from resnetbk_instrument.profile.cost import Cost, StreamState


@click.command("cost")
@click.argument("spec")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")
@click.option(
    "--steps", default=5, type=click.IntRange(1), show_default=True, help="How many steps to measure."
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Otherwise cuda where there is one.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def command(
    registry: Registry, spec: str, sets: tuple[str, ...], steps: int, device: str | None, as_json: bool
) -> None:
    """Takes a few steps of SPEC, keeps nothing of them, and says what all of it will cost."""
    from resnetbk.spec.read import read

    asked = read(spec, registry, sets)  # before torch is imported: mistakes answer at once

    import attrs

    from resnetbk_instrument.profile.cost import cost

    found = cost(asked, steps=steps, device=device or "")
    if as_json:
        click.echo(json.dumps(attrs.asdict(found)))
    else:
        _print(found)


def _print(found: Cost) -> None:
    from rich.console import Console

    from resnetbk.cli.tables import table

    console = Console(highlight=False)
    parts = table("component", "parameters", "forward FLOPs/token", "")
    whole = sum(found.forward_flops.values())
    names = dict.fromkeys((*found.parameters, *found.forward_flops))
    for name in sorted(names, key=lambda name: -found.forward_flops.get(name, 0)):
        flops = found.forward_flops.get(name, 0)
        parts.add_row(name, f"{found.parameters.get(name, 0):,}", f"{flops:,.0f}", f"{flops / whole:.1%}")
    parts.add_row("all", f"{sum(found.parameters.values()):,}", f"{whole:,.0f}", "", style="bold")
    console.print(parts)

    console.print(f"\ntraining       {found.training_flops:,.0f} FLOPs/token, optimizer and scoring included")
    console.print(f"streaming      {_state(found.state)}")
    console.print(f"peak memory    {_bytes(found.peak_memory)} on {found.device}")

    each = table("phase", "ms/step", "")
    for phase, seconds in found.phases.items():
        each.add_row(phase, f"{1000 * seconds:.1f}", f"{seconds / found.seconds:.0%}")
    each.add_row("step", f"{1000 * found.seconds:.1f}", "", style="bold")
    console.print()
    console.print(each)
    console.print(
        f"[dim]median of {found.measured} steps of {found.tokens:,} tokens: "
        f"{found.tokens / found.seconds:,.0f} tokens/s[/]"
    )

    times = "1 evaluation" if found.evaluations == 1 else f"{found.evaluations:,} evaluations"
    console.print(
        f"\nthe whole run  [bold]{_time(found.total_seconds)}[/]: {found.steps:,} steps in "
        f"{_time(found.steps * found.seconds)}, {times} of {_time(found.evaluation_seconds)} each, "
        f"set-up {_time(found.setup_seconds)}; {found.total_flops:.3g} FLOPs without evaluation"
    )


def _state(state: StreamState | None) -> str:
    if state is None:
        return "no: a component does not provide it"
    grows = f"and {state.growth:,.0f} more with each token" if state.growth else "however long"
    return f"{state.bytes:,} bytes a sequence, {grows}"


def _bytes(number: float) -> str:
    for size, letter in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= size:
            return f"{number / size:.1f} {letter}"
    return f"{number:.0f} bytes"


def _time(seconds: float) -> str:
    """`0.25 s`, `12.3 s`, `0:01:15`."""
    if seconds >= 60:
        return str(timedelta(seconds=round(seconds)))
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"
