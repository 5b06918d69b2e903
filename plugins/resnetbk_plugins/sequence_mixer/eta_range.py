"""The validators of the range in which the resolvent mixers initialise eta."""

from __future__ import annotations

from typing import Any

import attrs

SMALLEST, LARGEST = 1.1e-19, 1.8e19
"""Beyond these, the square of eta is no normal fp32 number: scans divide by it."""


def has_square(component: Any, attribute: attrs.Attribute[float], value: float) -> None:
    """An attrs validator for `eta_low`: between `SMALLEST` and `LARGEST`."""
    if not SMALLEST <= value <= LARGEST:
        raise ValueError(
            f"{attribute.name} must be from {SMALLEST} to {LARGEST}, where its square has a number in fp32, "
            f"not {value}; usual are 0.1 to 2"
        )


def at_least_eta_low(component: Any, attribute: attrs.Attribute[float], value: float) -> None:
    """An attrs validator for `eta_high`: at least `eta_low`, and at most `LARGEST`."""
    if value < component.eta_low:
        raise ValueError(f"eta_high must be at least eta_low = {component.eta_low}, not {value}")
    has_square(component, attribute, value)
