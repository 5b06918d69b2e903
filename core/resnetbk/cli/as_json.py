"""The option `--json`: a verb prints its result as one JSON document on standard output, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import click

from resnetbk.files import spelled

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")


def print_json(value: Any) -> None:
    """JSON values; what is not finite is written as a string, as in metrics.jsonl. Other types by `str`."""
    click.echo(json.dumps(spelled(value), allow_nan=False, default=str, indent=1))
