"""The tables of the terminal, all in one style."""

from __future__ import annotations

from collections.abc import Collection

from rich.table import Table


def table(*headings: str, left: Collection[int] = (0,), whole: Collection[int] = ()) -> Table:
    """An empty table without lines: columns `left`, by number, hold words, all others numbers. In a narrow
    terminal long cells are folded, but for those of columns `whole`."""
    rows = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for place, heading in enumerate(headings):
        justify = "left" if place in left else "right"
        rows.add_column(heading, justify=justify, overflow="fold", no_wrap=place in whole)  # type: ignore[arg-type]
    return rows
