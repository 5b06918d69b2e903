"""`--device`, of every verb that computes."""

from __future__ import annotations

import re

import click

NAMES = ("cpu", "cuda", "mps")


def _device(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    """Whether it is there is found out when it is used: torch is not imported yet."""
    if value is not None and not re.fullmatch(r"cpu|mps|cuda(:[0-9]{1,3})?", value):
        raise click.BadParameter(f"{value!r}: cpu, cuda, cuda:N (as in cuda:1) or mps", ctx, param)
    return value or ""


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in NAMES if name.startswith(incomplete)]


device_option = click.option(
    "--device", callback=_device, shell_complete=_complete, metavar="DEVICE",
    help="cpu, cuda, cuda:N or mps. Otherwise cuda where there is one.",
)  # fmt: skip
