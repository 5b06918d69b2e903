"""What the gates put in the place of rows that a layer did not compute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

import resnetbk_plugins.kernels  # noqa: F401  (registers the operators)
from resnetbk.kinds import Keep, State, with_role


class Fill(nn.Module):
    """A row that was left out gets the weighted sum of what the layer added to the `size` rows before it,
    each channel with weights of its own; rows that were left out themselves count as zeros.

        filled_i = before_i + sum over j = 1..size of weight_{-j} (after - before)_{i-j}

    Starts at zero: rows left out pass unchanged. One set of weights for each gated layer. With size 0 there
    are none, and rows left out always pass.
    """

    def __init__(self, layers: Iterable[int], width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.weights = nn.ParameterDict()  # (size, width) each, newest row last
        for layer in layers if size else ():
            self.weights[str(layer)] = with_role(nn.Parameter(torch.zeros(size, width)), "convolution")

    def forward(self, layer: int, before: Tensor, after: Tensor, computed: Tensor) -> Tensor:
        """(B, M, D), (B, M, D), (B, M) bool -> (B, M, D), `after` wherever it was computed."""
        if not self.size:
            return after
        weight = self._weight(layer, after)
        # a row that is filled has no update of its own, so the newest row's weight is zero
        weight = torch.cat((weight, weight.new_zeros(1, weight.shape[1])))
        left = (~computed)[..., None].to(weight.dtype)
        filled: Tensor = _Filled.apply(before.to(weight.dtype), after.to(weight.dtype), weight, left)
        return filled.to(after.dtype)

    def initial_state(self, batch: int) -> State:
        """For each layer the last `size` updates, (B, size, D), of which there are none yet."""
        return {
            _name(layer): weight.new_zeros(batch, self.size, weight.shape[1])
            for layer, weight in self.weights.items()
        }

    def step(
        self, layer: int, before: Tensor, after: Tensor, computed: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """`forward` for one row each, (B, 1, D)."""
        if not self.size:
            return after, state
        weight, updates = self._weight(layer, after), state[_name(layer)]
        mixed = updates[:, 0] * weight[0]
        for back in range(1, self.size):
            mixed = mixed + updates[:, back] * weight[back]
        newest = (after - before).to(updates.dtype)
        state = {**state, _name(layer): torch.cat((updates[:, 1:], newest), 1)}
        left = (~computed)[..., None].to(mixed.dtype)
        return torch.addcmul(after.to(mixed.dtype), mixed[:, None], left).to(after.dtype), state

    def _weight(self, layer: int, rows: Tensor) -> Tensor:
        weight: Tensor = self.weights[str(layer)]
        return weight.to(torch.promote_types(rows.dtype, torch.float32))


class FilledGate(nn.Module):
    """What a gate does about the rows that it left out, whatever made it leave them out."""

    def __init__(self, width: int, layers: Iterable[int], scope: str, fill: int) -> None:
        super().__init__()
        self.scope = scope
        self.filler = Fill(layers, width, fill)

    def fill(self, layer: int, before: Tensor, after: Tensor, keep: Keep) -> Tensor:
        assert keep.mask is not None
        filled: Tensor = self.filler(layer, before, after, keep.mask)
        return filled

    def initial_state(self, batch: int) -> State:
        return self.filler.initial_state(batch)

    def fill_step(
        self, layer: int, before: Tensor, after: Tensor, keep: Keep, state: State
    ) -> tuple[Tensor, State]:
        assert keep.mask is not None
        return self.filler.step(layer, before, after, keep.mask, state)


class _Filled(torch.autograd.Function):
    """after + left * convolution(after - before), left (B, M, 1) being 1 where rows were left out and else 0.

    Its gradient is written out because the convolution's result need not be kept, and both it and the gate's
    share of the gradient can be worked on in place.
    """

    @staticmethod
    def forward(ctx: Any, before: Tensor, after: Tensor, weight: Tensor, left: Tensor) -> Tensor:
        updates = after - before
        mixed: Tensor = torch.ops.resnetbk.convolution(updates, weight)
        ctx.save_for_backward(updates, weight, left)
        return mixed.mul_(left).add_(after)

    @staticmethod
    def backward(ctx: Any, out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        updates, weight, left = ctx.saved_tensors
        mixed = out * left
        update_grad, weight_grad = torch.ops.resnetbk.convolution_adjoint(updates, weight, mixed)
        return update_grad.neg(), torch.add(out, update_grad, out=mixed), weight_grad, None


def _name(layer: int | str) -> str:
    return f"updates{layer}"
