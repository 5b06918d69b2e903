"""The trainable weights of a model, with the roles that components declare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from torch import nn

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import Role, Weight

_OF_TORCH: dict[type[nn.Module], Role] = {
    nn.Linear: "matrix",
    nn.Embedding: "table",
    nn.EmbeddingBag: "table",
    nn.modules.conv._ConvNd: "convolution",
}
"""What `weight` is in torch's own modules."""


def weights(model: nn.Module) -> list[Weight]:
    """In a fixed order, shared ones once. Raises UserError for a role that does not exist."""
    return [
        Weight(name, parameter, role or "vector", getattr(parameter, "rate", 1.0))
        for name, parameter, role in declared_roles(model)
        if parameter.requires_grad
    ]


def declared_roles(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, Role | None]]:
    """Every parameter by name with its role: of its attribute `role`, or of torch's module; else None."""
    roles = _OF_TORCH.items()
    of_torch = {m.weight: role for m in model.modules() for kind, role in roles if isinstance(m, kind)}
    for name, parameter in model.named_parameters():
        role = getattr(parameter, "role", of_torch.get(parameter))
        if role not in (None, *get_args(Role)):
            raise UserError(f"weight {name}: no role {role!r}{nearest(str(role), get_args(Role))}")
        yield name, parameter, role
