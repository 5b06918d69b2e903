"""A run's result beside what counting alone reaches on the same text."""

from __future__ import annotations

import math

from rich.console import Console

from resnetbk.cli.tables import table
from resnetbk.measure.floor import floors
from resnetbk.training.data import Data

NAMES = {1: "unigram", 2: "bigram"}


def print_results(name: str, loss: float, data: Data, corpus: str) -> None:
    """A table of nats a token and bits a byte: the model, and Kneser-Ney n-grams of the same tokens."""
    counted = floors(data.train, data.valid, data.tokenizer.vocabulary)
    per_byte = (len(data.valid) - 1) / max(data.held_out_bytes, 1) / math.log(2)
    rows = table(f"held-out text of {corpus}", "nats/token", "bits/byte")
    found = [
        (f"{NAMES.get(order, f'{order}-gram')} counts", nats, "dim") for order, nats in counted.nats.items()
    ]
    found.append((name, loss, "bold"))
    for label, nats, style in sorted(found, key=lambda row: -row[1]):
        rows.add_row(label, f"{nats:.4f}", f"{nats * per_byte:.4f}", style=style)
    Console().print(rows)
