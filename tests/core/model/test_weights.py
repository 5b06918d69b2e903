"""Roles: what components and torch's modules say of their weights, and nothing from a shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnetbk.errors import UserError
from resnetbk.kinds import with_role
from resnetbk.model.weights import weights


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.readout = nn.Linear(3, 1)
        with_role(self.readout.weight, "vector")
        self.convolution = nn.Conv1d(3, 3, 2, groups=3)
        self.table = nn.EmbeddingBag(5, 3)
        self.norm = nn.LayerNorm(3)
        self.unsaid = nn.Parameter(torch.ones(3, 3))
        self.shared = self.linear.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)


def test_roles_are_those_that_were_said() -> None:
    assert {weight.name: weight.role for weight in weights(Odd())} == {
        "unsaid": "vector",
        "shared": "matrix",
        "linear.bias": "vector",
        "readout.weight": "vector",
        "readout.bias": "vector",
        "convolution.weight": "convolution",
        "convolution.bias": "vector",
        "table.weight": "table",
        "norm.weight": "vector",
        "norm.bias": "vector",
    }


def test_names_and_order_are_those_of_torch() -> None:
    model = Odd()
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert [weight.name for weight in weights(model)] == trainable


def test_roles_survive_another_precision() -> None:
    model = nn.Module()
    model.taps = with_role(nn.Parameter(torch.ones(2, 3)), "convolution")
    assert [weight.role for weight in weights(model.double().half())] == ["convolution"]


def test_a_role_that_does_not_exist_is_told() -> None:
    model = nn.Module()
    model.taps = with_role(nn.Parameter(torch.ones(2)), "convolutional")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no role 'convolutional'; did you mean 'convolution'"):
        weights(model)
