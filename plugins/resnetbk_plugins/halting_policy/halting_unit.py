"""The small network with which the learned halting policies read a row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import Stack, with_role

NARROWEST = 8
"""Least hidden width of a unit: with fewer its probabilities are badly calibrated."""


class HaltingUnit(nn.Module):
    """A logit per row: readout . gelu(hidden(norm(row))) + bias. It reads no other row."""

    def __init__(self, width: int, hidden: int, bias: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.hidden = nn.Linear(width, hidden)
        self.readout = with_role(nn.Parameter(torch.empty(hidden).uniform_(-1, 1) * hidden**-0.5), "vector")
        self.bias = with_role(nn.Parameter(torch.full((1,), bias)), "scalar")

    def forward(self, x: Tensor) -> Tensor:
        """(R, D) -> (R,) in the precision of the weights, under autocast too: rounding would change
        decisions, and a half-precision product would be compiled for each R."""
        with torch.autocast(x.device.type, enabled=False):
            h = F.gelu(self.hidden(self.norm(x.to(self.readout.dtype))))
            wide = torch.promote_types(h.dtype, torch.float32)
            return h.to(wide) @ self.readout.to(wide) + self.bias.to(wide)


def halting_units(stacks: Sequence[Stack], width: int, hidden: int, bias: float) -> nn.ModuleDict:
    """A unit for each layer, by its number, except the last of each stack, after which all rows halt.

    Layers do not share one, since rows after different layers differ.
    """
    inner = [layer for stack in stacks for layer in stack.layers[:-1]]
    return nn.ModuleDict({str(layer): HaltingUnit(width, max(NARROWEST, hidden), bias) for layer in inner})


def single_stack(stacks: Sequence[Stack]) -> Stack:
    """The only stack, for policies with exits: the head cannot read rows of coarser stacks."""
    if len(stacks) != 1:
        raise ValueError(f"exits need one stack of layers, and there are {len(stacks)}")
    return stacks[0]
