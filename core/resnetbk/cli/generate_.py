"""`resnetbk generate RUN --prompt TEXT [--json]`"""

from __future__ import annotations

import itertools
import sys

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.registry.lookup import Registry


@click.command("generate")
@click.argument("run")
@click.option("--prompt", required=True, help="The text to continue.")
@click.option("--tokens", default=400, type=click.IntRange(0), show_default=True, help="How many to add.")
@click.option(
    "--temperature", default=0.8, type=click.FloatRange(0), show_default=True,
    help="At 0, always the most likely token.",
)  # fmt: skip
@click.option(
    "--top-k", type=click.IntRange(1), metavar="K", help="Only among the K most likely tokens; else all."
)
@click.option(
    "--seed", default=0, type=click.IntRange(0, 2**63 - 1), show_default=True, help="Same seed, same text."
)
@json_option
@click.pass_obj
def command(
    registry: Registry,
    run: str,
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Generates text with RUN after a prompt; each piece is printed as soon as it is there."""
    from resnetbk.cli.results import write
    from resnetbk.training.run import Run

    loaded = Run.open(run, registry)
    pieces = loaded.generate(prompt, tokens, temperature=temperature, top_k=top_k, seed=seed)
    if as_json:
        text = b"".join(pieces).decode(errors="replace")
        print_json({"run": run, "prompt": prompt, "text": text, "tokens": tokens, "seed": seed})
        return
    written = itertools.chain([prompt.encode(errors="surrogateescape")], pieces)
    write(written, as_it_is=not sys.stdout.isatty())
