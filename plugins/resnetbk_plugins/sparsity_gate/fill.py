"""The update that the gates give to rows that a layer did not compute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

import resnetbk_plugins.kernels  # noqa: F401  (registers the operators)
from resnetbk.kinds import Keep, State, with_role


class Fill(nn.Module):
    """A skipped row gets the weighted sum of the layer's updates of the `size` rows before it, with weights
    per channel; skipped rows among these count as zeros.

        filled_i = before_i + sum over j = 1..size of weight_{-j} (after - before)_{i-j}

    Initialised to zero: skipped rows pass unchanged. Each gated layer has its own weights. With size 0 there
    are none, and skipped rows always pass unchanged.
    """

    def __init__(self, layers: Iterable[int], width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.weights = nn.ParameterDict()  # (size, width) each, latest row last
        for layer in layers if size else ():
            self.weights[str(layer)] = with_role(nn.Parameter(torch.zeros(size, width)), "convolution")

    def forward(self, layer: int, before: Tensor, after: Tensor, computed: Tensor) -> Tensor:
        """(B, M, D), (B, M, D), (B, M) bool -> (B, M, D), equal to `after` in computed rows."""
        if not self.size:
            return after
        weight = self._weight(layer, after)
        # a skipped row has no update of its own, so the weight of the row itself is zero
        weight = torch.cat((weight, weight.new_zeros(1, weight.shape[1])))
        skipped = (~computed)[..., None].to(weight.dtype)
        filled: Tensor = _Filled.apply(before.to(weight.dtype), after.to(weight.dtype), weight, skipped)
        return filled.to(after.dtype)

    def initial_state(self, batch: int) -> State:
        """For each layer the last `size` updates, (B, size, D), zeros."""
        return {
            _name(layer): weight.new_zeros(batch, self.size, weight.shape[1])
            for layer, weight in self.weights.items()
        }

    def step(
        self, layer: int, before: Tensor, after: Tensor, computed: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """`forward` for one row per sequence, (B, 1, D)."""
        if not self.size:
            return after, state
        weight, updates = self._weight(layer, after), state[_name(layer)]
        mixed = updates[:, 0] * weight[0]
        for back in range(1, self.size):
            mixed = mixed + updates[:, back] * weight[back]
        newest = (after - before).to(updates.dtype)
        state = {**state, _name(layer): torch.cat((updates[:, 1:], newest), 1)}
        skipped = (~computed)[..., None].to(mixed.dtype)
        return torch.addcmul(after.to(mixed.dtype), mixed[:, None], skipped).to(after.dtype), state

    def _weight(self, layer: int, rows: Tensor) -> Tensor:
        weight: Tensor = self.weights[str(layer)]
        return weight.to(torch.promote_types(rows.dtype, torch.float32))


class FilledGate(nn.Module):
    """The base of gates that fill skipped rows by `Fill`."""

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
    """after + skipped * convolution(after - before), skipped (B, M, 1) being 1 in skipped rows, otherwise 0.

    The gradient is written out because then the convolution's result need not be saved, and it and the gate's
    share of the gradient can be computed in place.
    """

    @staticmethod
    def forward(ctx: Any, before: Tensor, after: Tensor, weight: Tensor, skipped: Tensor) -> Tensor:
        updates = after - before
        mixed: Tensor = torch.ops.resnetbk.convolution(updates, weight)
        ctx.save_for_backward(updates, weight, skipped)
        return mixed.mul_(skipped).add_(after)

    @staticmethod
    def backward(ctx: Any, out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        updates, weight, skipped = ctx.saved_tensors
        mixed = out * skipped
        update_grad, weight_grad = torch.ops.resnetbk.convolution_adjoint(updates, weight, mixed)
        return update_grad.neg(), torch.add(out, update_grad, out=mixed), weight_grad, None


def _name(layer: int | str) -> str:
    return f"updates{layer}"
