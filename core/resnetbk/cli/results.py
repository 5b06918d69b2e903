"""A run's result beside what counting alone reaches on the same text."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from resnetbk.measure.floor import floors
from resnetbk.training.data import Data

NAMES = {1: "unigram", 2: "bigram"}


def print_results(name: str, loss: float, data: Data, corpus: str) -> None:
    """A table of nats a token and bits a byte: the model, and Kneser-Ney n-grams of the same tokens."""
    counted = floors(data.train, data.valid, data.tokenizer.vocabulary)
    per_byte = (len(data.valid) - 1) / max(data.held_out_bytes, 1) / math.log(2)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    table.add_column(f"held-out text of {corpus}", overflow="fold")
    table.add_column("nats/token", justify="right")
    table.add_column("bits/byte", justify="right")
    rows = [
        (f"{NAMES.get(order, f'{order}-gram')} counts", nats, "dim") for order, nats in counted.nats.items()
    ]
    rows.append((name, loss, "bold"))
    for label, nats, style in sorted(rows, key=lambda row: -row[1]):
        table.add_row(label, f"{nats:.4f}", f"{nats * per_byte:.4f}", style=style)
    Console().print(table)
