"""The validators of the range in which the resolvent mixers initialise eta."""

from __future__ import annotations

from typing import Any

import attrs
from attrs.validators import and_, ge, le

SMALLEST, LARGEST = 1.1e-19, 1.8e19
"""Beyond these, the square of eta is no normal fp32 number: scans divide by it."""

has_square = and_(ge(SMALLEST), le(LARGEST))
"""Of `eta_low`."""


def at_least_eta_low(component: Any, attribute: attrs.Attribute[float], value: float) -> None:
    """An attrs validator for `eta_high`: at least `eta_low`, and at most `LARGEST`."""
    if value < component.eta_low:
        raise ValueError(f"eta_high must be at least eta_low = {component.eta_low}, not {value}")
    has_square(component, attribute, value)
