"""`resnetbk dial COMPARISON COMPARISON... [--key KEY] [--out PAGE.html] [--json]`"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import click

from resnetbk.cli.as_json import print_json
from resnetbk.cli.tables import table
from resnetbk_instrument.pages.numbers import certain
from resnetbk_instrument.results.comparison import Comparison, Interval
from resnetbk_instrument.results.costs import SHOWN
from resnetbk_instrument.results.dial import Dial, dial


@click.command("dial")
@click.argument("folders", metavar="COMPARISON...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", metavar="KEY", default="", help="The dial; otherwise what differs in data.corpus.")
@click.option("--out", metavar="PAGE.html", type=click.Path(dir_okay=False), help="Otherwise dial.html.")
@click.option("--json", "as_json", is_flag=True, help="The numbers, for scripts; a page only with --out.")
def command(folders: tuple[Path, ...], key: str, out: str | None, as_json: bool) -> None:
    """What specs save over the dial of a task: a page with curves, from a comparison at each place."""
    from resnetbk_instrument.session.journal import read_result

    turned = dial([read_result(folder) for folder in folders], key)
    path = Path(out or "dial.html")
    if out or not as_json:
        _write(turned, path)
    if as_json:
        print_json({"key": turned.key, "places": [_numbers(*place) for place in turned.places]})
    else:
        _print(turned)
        click.echo(path)


def _write(turned: Dial, path: Path) -> None:
    from resnetbk.files import replace_file
    from resnetbk_instrument.pages.svg import need_matplotlib

    need_matplotlib()
    from resnetbk_instrument.pages.dial import dial_page

    replace_file(path, dial_page(turned).encode(), parents=True)


def _numbers(value: float, comparison: Comparison) -> dict[str, Any]:
    variants = [
        {"name": v.name, "refused": v.refused, "saved": {k: attrs.asdict(s) for k, s in v.saved.items()}}
        for v in comparison.variants
    ]
    return {"value": value, "variants": variants}


def _print(turned: Dial) -> None:
    from rich.console import Console
    from rich.markup import escape

    rows = table(turned.title, "at least", *(cost.title for cost in SHOWN), left=(1,))
    for value, comparison in turned.places:
        for name, variant in list(zip(turned.names, comparison.variants, strict=True))[1:]:
            rows.add_row(
                turned.shown(value), escape(name), *(_least(variant.saved.get(cost.key)) for cost in SHOWN)
            )
    console = Console(highlight=False)
    console.print(f"[bold]times less than {escape(turned.names[0])}[/] over {turned.key}", soft_wrap=True)
    console.print(rows)
    for value, comparison in turned.places:
        for name, variant in zip(turned.names, comparison.variants, strict=True):
            if variant.refused:
                told = f"{turned.title} = {turned.shown(value)}: {name}: {variant.refused}"
                console.print(escape(told), soft_wrap=True)


def _least(saved: Interval | None) -> str:
    """The lower end of what is saved; the estimate, with a question mark, where there is no interval."""
    if saved is None:
        return "-"
    return f"{saved.low:.2f}x" if certain(saved) else f"{saved.estimate:.2f}x?"
