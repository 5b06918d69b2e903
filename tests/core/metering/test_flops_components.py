"""FLOPs by component, and what is skipped: it costs nothing."""

from __future__ import annotations

import pytest
import synthetic
import torch
from torch import nn

from resnetbk.kinds import Rows, Stack
from resnetbk.metering.flops import FlopCounter, by_component

TOKENS = torch.arange(2 * 16).view(2, 16) % synthetic.VOCABULARY
WIDTH = synthetic.WIDTH


def components(model, tokens=TOKENS) -> tuple[dict[str, int], tuple[int, ...]]:
    counter = FlopCounter()
    with by_component(model, counter), counter:
        rows = model(tokens).rows
    assert sum(counter.components.values()) == counter.flops
    return dict(counter.components), rows


def test_operations_are_split_by_component():
    depth, rows = 3, TOKENS.numel()
    split, _ = components(synthetic.build(depth=depth))
    assert split["head"] == 2 * rows * WIDTH * synthetic.VOCABULARY
    assert split["channel"] == depth * rows * (2 * WIDTH * WIDTH + WIDTH)  # product with bias, tanh
    # position, product, running sum
    assert split["mixer"] == depth * rows * (1 + WIDTH + 2 * WIDTH * WIDTH + 2 * WIDTH)
    assert split["trunk"] == 2 * depth * rows * WIDTH + (depth - 1)  # residuals, and the sum of the penalties
    assert not {"halting", "gate", "resolution"} & {name for name, flops in split.items() if flops}


class Scaled(nn.Module, synthetic.Open):
    """A gate that is a module and weighs rows by a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(WIDTH, 1, bias=False, dtype=torch.float64)

    def keep(self, layer, rows: Rows):
        return synthetic.Keep(weight=self.score(rows.x)[..., 0].sigmoid())


def test_policies_are_charged_for_their_methods_and_put_back():
    stacks = (Stack(0, (0,)), Stack(1, (1,)), Stack(0, (2,)))
    gate = Scaled()
    model = synthetic.build(
        depth=3, gate=gate, resolution=synthetic.Strided(stacks), halting=synthetic.Never()
    )
    trunk, policies = model.trunk, (model.trunk.halting, model.trunk.resolution, model.trunk.gate)
    split, rows = components(model)
    assert split["gate"] == sum(rows) * (2 * WIDTH + 1)
    assert split["resolution"] > 2 * TOKENS.numel() * WIDTH * WIDTH
    assert (trunk.halting, trunk.resolution, trunk.gate) == policies
    assert trunk.gate is gate
    assert "gate" not in trunk.__dict__
    with pytest.raises(IndexError):
        components(model, TOKENS.double())
    assert (trunk.halting, trunk.resolution, trunk.gate) == policies
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("every", [2, 4])
def test_a_layer_on_a_share_of_the_rows_costs_that_share(every):
    """Claimed skip is executed skip: rows not kept are not computed."""
    whole, _ = components(synthetic.build(depth=4))
    gated, rows = components(synthetic.build(depth=4, gate=synthetic.Every(every)))
    assert sum(rows) == 4 * TOKENS.numel() // every
    for name in ("mixer", "channel"):
        assert gated[name] * every == whole[name]


@pytest.mark.parametrize("depths", [(1, 4), (0, 1, 2, 3), (2,)])
def test_halted_rows_cost_nothing(depths):
    whole, _ = components(synthetic.build(depth=4))
    halted, rows = components(synthetic.build(depth=4, halting=synthetic.Depth(depths)))
    claimed = sum(rows) / (4 * TOKENS.numel())
    assert claimed == sum(depths) / (4 * len(depths))
    for name in ("mixer", "channel"):
        assert halted[name] / whole[name] == pytest.approx(claimed, rel=0.02)


def test_the_backward_of_half_the_rows_costs_half():
    def backward(gate) -> int:
        model = synthetic.build(depth=4, gate=gate)
        result = model(TOKENS).logits.square().sum()
        with FlopCounter() as counter:
            result.backward()
        return counter.operators["aten::mm"]

    head = 2 * 2 * TOKENS.numel() * WIDTH * synthetic.VOCABULARY
    whole, half = backward(None), backward(synthetic.Every(2))
    assert (half - head) * 2 == whole - head
