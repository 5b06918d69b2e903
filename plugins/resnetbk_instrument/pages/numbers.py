"""Numbers as a reader wants them: rounded, in units that suit, and never claiming more than was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import attrs

from resnetbk_instrument.results.comparison import FEWEST, Interval
from resnetbk_instrument.results.costs import Units

NOTHING = "–"

Rounding = Callable[[float], int]
"""`round`, `math.floor` or `math.ceil`."""


@attrs.frozen
class Unit:
    """A unit and how many of the base it is."""

    size: float
    name: str

    @classmethod
    def of(cls, units: Units, values: Iterable[float]) -> Unit:
        """The largest of `units` in which no value is below 1, but for 0."""
        least = min((abs(value) for value in values if math.isfinite(value) and value), default=0.0)
        fitting = [(size, name) for size, name in units if least >= size]
        return cls(*(fitting[-1] if fitting else units[0]))

    def number(self, value: float, toward: Rounding = round) -> str:
        return digits(value / self.size, toward)

    def full(self, value: float) -> str:
        return f"{self.number(value)} {self.name}".strip() if math.isfinite(value) else NOTHING

    def heading(self, what: str) -> str:
        """`time, min`."""
        return f"{what},\N{NO-BREAK SPACE}{self.name}" if self.name else what


def amount(units: Units, value: float) -> str:
    """One value in the unit that suits it: `3.14 TFLOP`."""
    return Unit.of(units, [value]).full(value)


def digits(value: float, toward: Rounding = round) -> str:
    """Three significant digits, thousands set apart: `0.00123`, `12.3`, `1,230,000`."""
    if not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    places = 2 - math.floor(math.log10(abs(value)))
    rounded = _rounded(value, places, toward)
    if abs(rounded) < 1e-4 or abs(rounded) >= 1e9:
        return signed(f"{rounded:.2e}")
    # 9.996 has become 10.00: a digit more before the point is one less after it
    places = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return signed(f"{rounded:,.{places}f}")


def nats(value: float, toward: Rounding = round) -> str:
    return signed(f"{_rounded(value, 3, toward):.3f}") if math.isfinite(value) else NOTHING


def change(value: float, toward: Rounding = round) -> str:
    """Nats with their sign."""
    return signed(f"{_rounded(value, 3, toward):+.3f}") if math.isfinite(value) else NOTHING


def times(ratio: float, toward: Rounding = round) -> str:
    return f"{digits(ratio, toward)}×" if math.isfinite(ratio) else NOTHING


def signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def certain(interval: Interval) -> bool:
    """Whether it has two finite ends: a few values give none."""
    return interval.n >= FEWEST and math.isfinite(interval.low) and math.isfinite(interval.high)


def ends(interval: Interval, shown: Callable[[float, Rounding], str]) -> str:
    """`5.21 to 6.61`, rounded outwards: a claim that goes by an end is never more than what was measured."""
    return f"{shown(interval.low, math.floor)} to {shown(interval.high, math.ceil)}"


def spread(interval: Interval, shown: Callable[[float, Rounding], str]) -> str:
    """Its ends; of two values, which give none, these themselves: `each 5.21, 6.61`; "" of one."""
    if certain(interval):
        return ends(interval, shown)
    few = interval.values if 1 < interval.n < FEWEST else ()
    return "each " + ", ".join(shown(value, round) for value in few) if few else ""


def shares(amounts: Sequence[float], places: int = 0) -> list[str]:
    """Each of these in percent of their sum, rounded so that what is shown adds up to 100."""
    whole, units = math.fsum(amounts), 100 * 10**places
    exact = [units * amount / whole if whole else 0.0 for amount in amounts]
    rounded = [math.floor(share) for share in exact]
    missing = units - sum(rounded) if whole else 0
    # those that were cut most get one more
    for place in sorted(range(len(exact)), key=lambda place: rounded[place] - exact[place])[:missing]:
        rounded[place] += 1
    return [f"{share / 10**places:.{places}f}" for share in rounded]


def _rounded(value: float, places: int, toward: Rounding) -> float:
    scaled = value * 10.0**places
    # 1.13 * 100 is less than 113 by a hair, which is not to be rounded down
    return toward(round(scaled, 6)) / 10.0**places
