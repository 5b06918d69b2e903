"""The rules that the gates share for their keys: how many rows, of which layers, and how much of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

if TYPE_CHECKING:
    from resnetbk.spec import Spec

Scope = Literal["layer", "mixer", "channel"]


def is_density(_: Any, field: attrs.Attribute[float], value: float) -> None:
    """A validator. Raises ValueError unless 0 < value <= 1."""
    if not 0.0 < value <= 1.0:
        raise ValueError(f"must be more than 0 and at most 1, is {value}")


def are_layers(_: Any, field: attrs.Attribute[Any], value: tuple[int, ...] | None) -> None:
    """A validator. Raises ValueError unless value is None or different numbers of layers."""
    if value is None:
        return
    if not value or min(value) < 0 or len(set(value)) < len(value):
        raise ValueError(f"must name different layers, of which the first is 0, not {list(value)}")


def gated(keep: float, layers: tuple[int, ...] | None, depth: int) -> tuple[int, ...]:
    """The layers that are gated, rising.

    When none are named: all but the first, whose rows know nothing yet but their own token to judge them by,
    and which gives every row some context. None at all when `keep` is 1.
    """
    if keep == 1.0:
        return ()
    return tuple(range(1, depth)) if layers is None else tuple(sorted(layers))


def check_gated(layers: tuple[int, ...] | None, scope: Scope, spec: Spec) -> None:
    """Raises ValueError when the gate does not fit the model it is in."""
    depth, wiring = spec.model.depth, spec.model.wiring
    if layers is None and depth == 1:
        raise ValueError(
            "gates all layers but the first, and model.depth = 1; to gate that one, layers = [0]"
        )
    if layers is not None and max(layers) >= depth:
        raise ValueError(f"layers names {max(layers)}; model.depth = {depth} has layers 0 to {depth - 1}")
    if scope != "layer" and wiring != "sequential":
        raise ValueError(
            f"leaves out the {scope} alone, which needs model.wiring = 'sequential': in {wiring!r} the mixer "
            "reads what the channel mixer made of the same rows"
        )
