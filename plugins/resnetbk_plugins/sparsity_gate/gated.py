"""Validators and defaults of the gates' keys `keep`, `layers` and `scope`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import and_, gt, le

if TYPE_CHECKING:
    from resnetbk.spec import Spec

Scope = Literal["layer", "mixer", "channel"]

DENSITY = and_(gt(0.0), le(1.0))


def are_layers(_: Any, field: attrs.Attribute[Any], value: tuple[int, ...] | None) -> None:
    """An attrs validator: None, or different layer numbers."""
    if value is None:
        return
    if not value or min(value) < 0 or len(set(value)) < len(value):
        raise ValueError(f"must name different layers, of which the first is 0, not {list(value)}")


def gated(keep: float, layers: tuple[int, ...] | None, depth: int) -> tuple[int, ...]:
    """The layers that are gated, in order.

    By default all except the first, before which a row contains only its own token to score it by, and which
    gives every row some context. None if `keep` is 1.
    """
    if keep == 1.0:
        return ()
    return tuple(range(1, depth)) if layers is None else tuple(sorted(layers))


def check_gated(layers: tuple[int, ...] | None, scope: Scope, spec: Spec) -> None:
    """Raises ValueError if the gate does not fit the model."""
    depth, wiring = spec.model.depth, spec.model.wiring
    if layers is None and depth == 1:
        raise ValueError(
            "gates all layers but the first, and model.depth = 1; to gate that layer, layers = [0]"
        )
    if layers is not None and max(layers) >= depth:
        raise ValueError(f"layers names {max(layers)}; model.depth = {depth} has layers 0 to {depth - 1}")
    if scope != "layer" and wiring != "sequential":
        raise ValueError(
            f"skips the {scope} only, which needs model.wiring = 'sequential': in {wiring!r} the mixer "
            "reads the channel mixer's output of the same rows"
        )
