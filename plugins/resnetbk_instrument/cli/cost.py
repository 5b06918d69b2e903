"""`resnetbk cost SPEC [--set k=v] [--steps n] [--json]`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.cli.device_option import device_option
from resnetbk.registry.lookup import Registry
from resnetbk.terminal import duration
from resnetbk_instrument.cli.one_process import OneProcess

if TYPE_CHECKING:
    from resnetbk.spec.spec import Spec
    from resnetbk_instrument.profile.cost import CostEstimate, StreamState


@click.command("cost", cls=OneProcess)
@click.argument("spec", type=click.Path())
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; repeatable.")
@click.option(
    "--steps", default=5, type=click.IntRange(1), show_default=True, help="How many steps to measure."
)
@device_option
@json_option
@click.pass_obj
def command(
    registry: Registry, spec: str, sets: tuple[str, ...], steps: int, device: str, as_json: bool
) -> None:
    """Takes a few steps of SPEC, keeps nothing of them, and says what all of it will cost."""
    from resnetbk.spec.read import read

    asked = read(spec, registry, sets)  # before torch is imported: mistakes answer at once

    import attrs

    from resnetbk_instrument.profile.cost import cost

    estimate = cost(asked, steps=steps, device=device)
    if as_json:
        print_json(attrs.asdict(estimate))
    else:
        _print(estimate, asked)


def _print(estimate: CostEstimate, spec: Spec) -> None:
    from rich.console import Console
    from rich.markup import escape

    from resnetbk.cli.tables import table
    from resnetbk.spec.spec import parts as parts_of
    from resnetbk_instrument.pages.numbers import shares

    entries = {key.removeprefix("model."): part.name for key, part in parts_of(spec) if "[" in key}
    console = Console(highlight=False)
    parts = table("component", "parameters", "forward FLOPs/token", "")
    whole = sum(estimate.forward_flops.values())
    flops = dict.fromkeys(estimate.parameters, 0.0) | dict(estimate.forward_flops)
    names = sorted(flops, key=lambda name: -flops[name])
    for name, share in zip(names, shares([flops[name] for name in names], 1), strict=True):
        shown = f"{name} {entries[name]}" if name in entries else name
        parts.add_row(
            escape(shown), f"{estimate.parameters.get(name, 0):,}", f"{flops[name]:,.0f}", f"{share}%"
        )
    parts.add_row("all", f"{sum(estimate.parameters.values()):,}", f"{whole:,.0f}", "", style="bold")
    console.print(parts)

    console.print(
        f"\ntraining       {estimate.training_flops:,.0f} FLOPs/token, optimizer and scoring included"
    )
    console.print(f"streaming      {_state(estimate.state)}")
    console.print(f"peak memory    {_bytes(estimate.peak_memory)} on {estimate.device}")

    console.print(
        f"precision      {estimate.precision}; matrix products in bf16 run at "
        f"{estimate.bf16_speed:.2g} times the speed of fp32"
    )

    each = table("phase", "ms/step", "")
    by_phase = estimate.phases.items()
    for (phase, seconds), share in zip(by_phase, shares(list(estimate.phases.values())), strict=True):
        each.add_row(phase, f"{1000 * seconds:.1f}", f"{share}%")
    each.add_row("step", f"{1000 * estimate.seconds:.1f}", "", style="bold")
    console.print()
    console.print(each)
    console.print(
        f"[dim]median of {estimate.measured} steps of {estimate.tokens:,} tokens: "
        f"{estimate.tokens / estimate.seconds:,.0f} tokens/s[/]"
    )

    times = "1 evaluation" if estimate.evaluations == 1 else f"{estimate.evaluations:,} evaluations"
    console.print(
        f"\nthe whole run  [bold]{_time(estimate.total_seconds)}[/]: {estimate.steps:,} steps in "
        f"{_time(estimate.steps * estimate.seconds)}, {times} of {_time(estimate.evaluation_seconds)} each, "
        f"set-up {_time(estimate.setup_seconds)}; {estimate.total_flops:.3g} FLOPs without evaluation"
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
        return duration(seconds)
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"
