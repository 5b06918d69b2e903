import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from resnetbk.kinds import with_role
from resnetbk_plugins.initializer.scratch import Scratch


class Branch(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.output = nn.Linear(4 * width, width)
        nn.init.zeros_(self.output.weight)


class Model(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.table = nn.Embedding(200, width)
        self.hashed = nn.Embedding(300, width)
        nn.init.zeros_(self.hashed.weight)
        self.branch = Branch(width)
        self.norm = nn.LayerNorm(width)
        self.energy = nn.Parameter(torch.linspace(-2, 2, width))
        self.filter = nn.Conv1d(width, width, 3)
        self.halt = nn.Linear(width, 1)
        nn.init.constant_(self.halt.bias, -3.0)
        self.times = nn.Linear(width, 4)  # time constants, spread on purpose
        self.times.bias = with_role(nn.Parameter(torch.linspace(-3, 3, 4)), "vector")
        self.head = nn.Linear(width, 200, bias=False)
        nn.init.zeros_(self.head.weight)


TOKENIZER: Any = None
"""`scratch` does not use it."""


@pytest.fixture
def model() -> Model:
    torch.manual_seed(1)
    return Model()


def test_leaves_everything_alone_by_default(model: Model) -> None:
    before = copy.deepcopy(model.state_dict())
    lines = Scratch().build().initialize(model, TOKENIZER, 4)
    assert len(lines) == 1
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_draws_matrices_tables_and_convolutions_by_gpt2s_scheme(model: Model) -> None:
    depth = 4
    (line,) = Scratch(std=0.02).build().initialize(model, TOKENIZER, depth)
    assert line == "drew 5 weights from N(0, 0.02^2) and 1 residual outputs from N(0, 0.00707^2)"
    for weight in (model.table.weight, model.branch.expand.weight, model.filter.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert weight.mean().item() == pytest.approx(0.0, abs=0.001)
    expected = 0.02 / math.sqrt(2 * depth)
    assert model.branch.output.weight.std().item() == pytest.approx(expected, rel=0.03)
    assert not model.branch.expand.bias.any()
    assert not model.branch.output.bias.any()


def test_what_was_built_constant_or_has_another_role_stays(model: Model) -> None:
    before = copy.deepcopy(model.state_dict())
    Scratch(std=0.02).build().initialize(model, TOKENIZER, 4)
    unchanged = (
        "hashed.weight",
        "norm.weight",
        "norm.bias",
        "energy",
        "halt.bias",
        "times.bias",
        "head.weight",
    )
    for name in unchanged:
        assert torch.equal(model.state_dict()[name], before[name]), name


def test_the_same_generator_state_gives_the_same_weights(model: Model) -> None:
    other = copy.deepcopy(model)
    for one in (model, other):
        torch.manual_seed(7)
        Scratch(std=0.1).build().initialize(one, TOKENIZER, 2)
    assert torch.equal(model.table.weight, other.table.weight)


@pytest.mark.parametrize("std", [0.0, -1.0])
def test_a_std_that_is_not_positive_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="std"):
        Scratch(std=std)
