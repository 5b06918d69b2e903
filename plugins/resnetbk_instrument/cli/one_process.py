"""Verbs that train or measure do so in one process."""

from __future__ import annotations

import os
from typing import Any

import click

from resnetbk.errors import UserError


class OneProcess(click.Command):
    """A verb that is refused, before it reads or writes anything, in each of several processes.

    All of them would write the same files, and the time of each holds what it waits for the others.
    """

    def invoke(self, ctx: click.Context) -> Any:
        size = os.environ.get("WORLD_SIZE", "").strip()
        if size not in ("", "0", "1"):
            raise UserError(
                f"{self.name}: runs in one process, and WORLD_SIZE={size} asks for several; start it without "
                "torchrun, or unset WORLD_SIZE"
            )
        return super().invoke(ctx)
