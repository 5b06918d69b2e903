"""The rule that the resolvent mixers share for the range in which eta starts."""

from __future__ import annotations

from typing import Any

import attrs


def at_least_eta_low(component: Any, attribute: attrs.Attribute[float], value: float) -> None:
    """A validator for `eta_high`. Raises ValueError when it lies below the component's `eta_low`."""
    if value < component.eta_low:
        raise ValueError(f"eta_high must be at least eta_low = {component.eta_low}, not {value}")
