"""Pages are Jinja templates, `*.html.j2` beside this file, which escape whatever is put into them.

A template is given plain text, numbers, and these parts; `parts.html.j2` lays them out. Pictures alone are
ready HTML.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from resnetbk import toml_write
from resnetbk_instrument.pages.numbers import NOTHING, Rounding, spread
from resnetbk_instrument.pages.svg import hue_index, mark_index, phase_index
from resnetbk_instrument.results.comparison import Interval

if TYPE_CHECKING:
    from jinja2 import Environment


@attrs.frozen
class Cell:
    """A cell that is more than a text.

    small   below the text, in small letters
    strong  whether the text is set off
    hue     number of the thing that it names, whose colour in the pictures stands before it
    meter   instead of a text, a bar: percent filled, and percent left out after that
    """

    text: str = ""
    small: str = ""
    strong: bool = False
    hue: int | None = None
    meter: tuple[float, float] | None = None


@attrs.frozen
class Table:
    """The first `words` columns are words, the others numbers. The last `quiet` rows are of less weight."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    words: int = 1
    quiet: int = 0


@attrs.frozen
class Figure:
    """A picture, which is an `<svg>` element, and its title."""

    picture: str
    title: str = ""


def over_ends(interval: Interval | None, shown: Callable[[float, Rounding], str]) -> str | Cell:
    """An estimate above its interval, or above the values that are too few for one."""
    if interval is None:
        return NOTHING
    return Cell(shown(interval.estimate, round), spread(interval, shown))


def spec_text(tree: Mapping[str, Any]) -> str:
    """A spec as its file would be; a key that is None is left out."""

    def told(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: told(item) for name, item in value.items() if item is not None}
        return value

    return toml_write.dumps(told(tree))


def render(template: str, **context: Any) -> str:
    """The page that a template makes of this; a name that it asks for and is not given is an error."""
    return _environment().get_template(f"{template}.html.j2").render(context)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("resnetbk_instrument", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(hue=hue_index, mark=mark_index, phase=phase_index)
    return environment
