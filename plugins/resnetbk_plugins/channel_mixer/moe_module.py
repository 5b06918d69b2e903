"""The torch module of `moe`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import Penalties
from resnetbk_plugins.channel_mixer.mlp_module import DenseMLP


class MixtureOfExperts(nn.Module):
    """sum over the chosen experts e of p_e(x) expert_e(x), p = softmax(router(x)).

    Probabilities are not renormalised over the chosen experts, so that the router learns with top_k = 1 too
    (Fedus et al., 2021, Switch Transformer, eq. 2). Rows are sorted by expert and each expert runs once, on
    its own rows; an expert without rows runs on none and gets a gradient of zero.
    """

    def __init__(
        self, width: int, experts: int, top_k: int, expansion: float, activation: str, balance: float
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.balance = balance
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(
            DenseMLP(width, expansion, activation, bias=False) for _ in range(experts)
        )
        nn.init.normal_(self.router.weight, std=width**-0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Penalties]:
        """(R, D) -> (R, D), and the penalty `balance`."""
        probability = self._probability(x)
        gate, chosen = probability.topk(self.top_k, dim=-1)  # (R, K)
        assigned = chosen.flatten()  # (R K,), row by row
        order = assigned.argsort(stable=True)
        counts = torch.bincount(assigned, minlength=len(self.experts))
        # Rows are copied K times, then permuted: no scattered additions, forward or backward.
        copies = x[:, None].expand(-1, self.top_k, -1).flatten(0, 1)
        groups = copies.index_select(0, order).split(counts.tolist())
        sorted_outputs = torch.cat(
            [expert(rows)[0] for expert, rows in zip(self.experts, groups, strict=True)]
        )
        outputs = sorted_outputs.index_select(0, order.argsort()).unflatten(0, chosen.shape)  # (R, K, D)
        mixed = (outputs * gate.to(outputs.dtype)[..., None]).sum(dim=1)
        return mixed, {"balance": self.balance * self._imbalance(probability, counts)}

    def _probability(self, x: Tensor) -> Tensor:
        """(R, E) in at least float32: in half precision rounding would decide close choices."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.to(dtype), self.router.weight.to(dtype)).softmax(dim=-1)

    def _imbalance(self, probability: Tensor, counts: Tensor) -> Tensor:
        """E sum_e f_e P_e, with f the share of assignments and P the mean probability: 1 when balanced, 0
        without rows (Switch Transformer, eq. 4 to 6)."""
        rows = max(1, len(probability))
        share = counts.to(probability.dtype) / (rows * self.top_k)
        return len(counts) * (share * probability.sum(dim=0) / rows).sum()
