"""Pictures for a page: matplotlib's SVG, made to be a part of the HTML around it.

Text stays text in the page's fonts, every colour is one of the page's CSS variables (so that one picture
serves light and dark), ids are unique to the picture, and the same input gives the same bytes.
"""

from __future__ import annotations

import importlib.util
import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from resnetbk.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 380.0
"""Of a picture, in its own units: about a phone's, so that letters keep their size there."""

HUES = 7
"""Colours for things of one sort: `--hue-0`, a neutral one, to `--hue-6`."""

PHASES = 6
"""Colours for the parts of one thing, `--phase-0` to `--phase-5`: lightness alone tells them apart, too."""

_HUES, _PHASES = [f"hue-{i}" for i in range(HUES)], [f"phase-{i}" for i in range(PHASES)]
_VARIABLES = ("ink", "muted", "grid", "paper", *_HUES, *_PHASES)
# matplotlib wants real colours: each of these stands for a variable until the SVG is text
_STANDS_FOR = {name: f"#fe01{number:02x}" for number, name in enumerate(_VARIABLES)}
INK, MUTED, GRID, PAPER = (_STANDS_FOR[name] for name in _VARIABLES[:4])

_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",  # only measured with; wider than what the page shows
    "font.size": 11.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.linewidth": 1.0,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 1.0,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "ytick.major.size": 0.0,
    "lines.solid_capstyle": "round",
}


def hue(number: int) -> str:
    """The colour of thing `number`: the first is neutral, later ones repeat."""
    return _STANDS_FOR[f"hue-{hue_index(number)}"]


def hue_index(number: int) -> int:
    """Which of the variables `--hue-i` is the colour of thing `number`."""
    return 0 if number == 0 else 1 + (number - 1) % (HUES - 1)


def phase_color(number: int) -> str:
    """The colour of part `number`: those after the last colour share it."""
    return _STANDS_FOR[f"phase-{phase_index(number)}"]


def phase_index(number: int) -> int:
    """Which of the variables `--phase-i` is the colour of part `number`."""
    return min(number, PHASES - 1)


def marker(number: int) -> str:
    """The mark of thing `number`: it changes where colours begin again."""
    return "osD"[mark_index(number)]


def mark_index(number: int) -> int:
    """Which of three marks thing `number` has: a dot, a square, a diamond."""
    return max(0, number - 1) // (HUES - 1) % 3


INSTALL = 'pip install "resnetbk[plots]"'
"""What brings matplotlib."""


def has_matplotlib() -> bool:
    """Whether the extra `plots` is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def need_matplotlib() -> None:
    """Raises UserError where matplotlib, the extra `plots`, is not installed."""
    if not has_matplotlib():
        raise UserError(f"a report needs matplotlib: {INSTALL}")


def svg(name: str, label: str, height: float, draw: Callable[[Figure], None]) -> str:
    """What `draw` puts on a figure of WIDTH by `height`, as an `<svg>` element with this accessible label.

    name  unique on the page: it leads every id
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font measured with does not have
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        figure.patch.set_visible(False)
        draw(figure)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return _inline(written.getvalue(), name, label, height)


def axes(figure: Figure, left: float, right: float, bottom: float, top: float) -> Axes:
    """Axes at these distances from the figure's edges, in its units, without a background."""
    width, height = (72 * float(inches) for inches in figure.get_size_inches())
    axes_ = figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    )
    axes_.patch.set_visible(False)
    return axes_


def cut(name: str) -> str:
    """A name of any length as there is room for: `a-very-long-na…`."""
    return name if len(name) <= 40 else f"{name[:39]}…"


def halo(artist: Any) -> None:
    """Sets a text off from lines behind it."""
    artist.set_gid("halo")


def log_ticks(low: float, high: float, fewest: int = 3) -> list[float]:
    """Round numbers within [low, high], which is positive, for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for mantissas in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        ticks = [m * 10.0**d for d in decades for m in mantissas if low <= m * 10.0**d <= high]
        if len(ticks) >= fewest:
            return ticks[:: 1 + len(ticks) // 8]
    return even_ticks(low, high)


def even_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Some three to five round numbers within [low, high]."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def widened(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """The ends of a logarithmic axis that leaves room about [low, high]."""
    room = max((high / low) ** share, 1.08)
    return low / room, high * room


def set_ticks(axis: Any, ticks: Sequence[float], shown: Callable[[float], str]) -> None:
    """Exactly these ticks on an axis, on a logarithmic one too."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels([shown(tick) for tick in ticks])


def spread(wanted: Iterable[float], gap: float) -> list[float]:
    """Places near those wanted, in their order, and at least `gap` apart."""
    wanted = list(wanted)
    groups: list[tuple[float, list[int]]] = []  # the middle of a group, and whose places it holds
    for index in sorted(range(len(wanted)), key=wanted.__getitem__):
        middle, held = wanted[index], [index]
        while groups and groups[-1][0] + gap * (len(groups[-1][1]) + len(held)) / 2 > middle:
            before, others = groups.pop()
            middle = (before * len(others) + middle * len(held)) / (len(others) + len(held))
            held = others + held
        groups.append((middle, held))
    places = list(wanted)
    for middle, held in groups:
        for number, index in enumerate(held):
            places[index] = middle + gap * (number - (len(held) - 1) / 2)
    return places


def _inline(text: str, name: str, label: str, height: float) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style\b.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<g id=\"halo[^\"]*\">", '<g class="halo">', text)
    text = re.sub(r"<[^>]*>", lambda tag: _tag(tag[0], name), text)
    text = re.sub(r">\s+<", "><", text)
    start = (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(label, quote=True)}">'
    )
    return start + text[text.index(">") + 1 :].strip()


def _tag(tag: str, name: str) -> str:
    """One tag: its ids, numbers, fonts and colours."""
    used = re.search(r"\bid=\"([^\"]*)\"", tag)
    if used and tag.startswith("<g "):  # nothing refers to groups
        tag = tag.replace(f" {used[0]}", "")
    tag = re.sub(r"\bid=\"", f'id="{name}-', tag)
    tag = re.sub(r"\bxlink:href=\"#", f'href="#{name}-', tag)
    tag = re.sub(r"url\(#", f"url(#{name}-", tag)
    tag = re.sub(r"(\d+\.\d\d)\d+", r"\1", tag)
    tag = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", tag)
    for variable, colour in _STANDS_FOR.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return tag
