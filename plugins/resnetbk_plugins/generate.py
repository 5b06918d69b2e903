"""`resnetbk generate RUN --prompt TEXT [--json]`"""

from __future__ import annotations

import itertools
import sys
from typing import Any, BinaryIO

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.cli.device_option import device_option
from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry

MOST = 1 << 20
"""Bytes of a prompt file: more is read token by token for longer than anybody waits."""


@click.command("generate")
@click.argument("run", type=click.Path())
@click.option("--prompt", help="The text to continue.")
@click.option(
    "--prompt-file", type=click.File("rb"), metavar="FILE", help="A file to continue; - is standard input."
)
@click.option("--tokens", default=400, type=click.IntRange(0), show_default=True, help="How many to add.")
@click.option(
    "--num-samples", default=1, type=click.IntRange(1, 4096), show_default=True, metavar="N",
    help="So many texts, generated as one batch.",
)  # fmt: skip
@click.option(
    "--temperature", default=0.8, type=click.FloatRange(0), show_default=True,
    help="At 0, always the most likely token.",
)  # fmt: skip
@click.option(
    "--top-k", type=click.IntRange(1), metavar="K", help="Only among the K most likely tokens; else all."
)
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), metavar="P",
    help="Only among the most likely tokens that together have probability P; else all.",
)  # fmt: skip
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; repeatable.")
@click.option(
    "--seed", default=0, type=click.IntRange(0, 2**63 - 1), show_default=True, help="Same seed, same text."
)
@device_option
@json_option
@click.pass_obj
def command(
    registry: Registry,
    run: str,
    prompt: str | None,
    prompt_file: BinaryIO | None,
    tokens: int,
    num_samples: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: tuple[str, ...],
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Generates text with RUN after a prompt; each piece of one text is printed as soon as it is there."""
    before = _prompt(prompt, prompt_file)

    from resnetbk.cli.results import write
    from resnetbk.training.run import Run
    from resnetbk.training.sampling import until

    sampling: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    loaded = Run.open(run, registry, device=device)
    stops = [text.encode(errors="surrogateescape") for text in stop]
    if num_samples == 1 and not as_json:
        pieces = until(loaded.generate(before, tokens, **sampling), stops)
        write(itertools.chain([before], pieces), as_it_is=not sys.stdout.isatty())
        return
    whole = loaded.samples(before, num_samples, tokens, **sampling)
    texts = [b"".join(until([text], stops)) for text in whole]
    if as_json:
        readable = [text.decode(errors="replace") for text in texts]
        result = {"run": run, "prompt": before.decode(errors="replace"), "text": readable[0]}
        print_json(result | {"texts": readable, "tokens": tokens, "seed": seed})
        return
    for number, text in enumerate(texts, 1):
        click.echo(f"--- {number} of {num_samples} ---")
        write([before, text], as_it_is=not sys.stdout.isatty())


def _prompt(prompt: str | None, file: BinaryIO | None) -> bytes:
    """The bytes to continue. Raises UserError unless there is one prompt."""
    if (prompt is None) == (file is None):
        raise UserError("which prompt? give --prompt TEXT or --prompt-file FILE")
    if file is None:
        return str(prompt).encode(errors="surrogateescape")
    text = file.read(MOST + 1)
    if len(text) > MOST:
        raise UserError(f"--prompt-file: has more than {MOST >> 20} MiB")
    return text
