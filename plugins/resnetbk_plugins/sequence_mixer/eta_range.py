"""The validator of the range in which the resolvent mixers initialise eta."""

from __future__ import annotations

from typing import Any

import attrs


def at_least_eta_low(component: Any, attribute: attrs.Attribute[float], value: float) -> None:
    """An attrs validator for `eta_high`: at least `eta_low`."""
    if value < component.eta_low:
        raise ValueError(f"eta_high must be at least eta_low = {component.eta_low}, not {value}")
