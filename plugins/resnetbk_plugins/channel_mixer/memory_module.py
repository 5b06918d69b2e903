"""The torch module of `memory`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetbk.kinds import Penalties, with_role


class ProductKeyMemory(nn.Module):
    """sum over heads h and their chosen slots s of p_hs value_s, p_h the softmax of their scores.

    Slot (a, b), the row a * keys + b of `values`, scores q_h1 . key_h1a + q_h2 . key_h2b. Both halves of a
    query are normalised (RMSNorm, as in Berges et al. 2024, arXiv:2412.09764); with the batch norm of Lample
    et al. rows would depend on each other. The best slots are among the pairs of best half-keys. Values start
    at zero.
    """

    def __init__(self, width: int, keys: int, heads: int, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        half = max(1, width // (2 * heads))
        self.query = nn.Linear(width, heads * 2 * half, bias=False)
        self.keys = with_role(nn.Parameter(torch.randn(heads, 2, keys, half) * half**-0.5), "table")
        self.values = nn.EmbeddingBag(keys**2, width, mode="sum", sparse=True)
        nn.init.normal_(self.query.weight, std=width**-0.5)
        nn.init.zeros_(self.values.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Penalties]:
        """(R, D) -> (R, D), no penalties."""
        score, slot = self._best(self._scores(x))
        share = score.softmax(dim=-1).flatten(1).to(self.values.weight.dtype)
        read: Tensor = self.values(slot.flatten(1), per_sample_weights=share)
        return read, {}

    def _scores(self, x: Tensor) -> Tensor:
        """(R, D) -> (R, heads, 2, keys), of each half-key, in at least float32: in half precision rounding
        would decide close choices."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        half = self.keys.shape[-1]
        with torch.autocast(x.device.type, enabled=False):
            query = F.linear(x.to(dtype), self.query.weight.to(dtype)).unflatten(-1, (-1, half))
            query = F.rms_norm(query, (half,)).transpose(0, 1)  # heads lead: one product of matrices for each
            scores = query @ self.keys.to(dtype).flatten(0, 1).mT
        return scores.transpose(0, 1).reshape(len(x), *self.keys.shape[:3])

    def _best(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """(R, heads, 2, keys) -> the scores and rows of the best slots, (R, heads, top_k) each."""
        best, key = scores.topk(self.top_k, dim=-1)
        pairs = best[..., 0, :, None] + best[..., 1, None, :]
        slots = key[..., 0, :, None] * scores.shape[-1] + key[..., 1, None, :]
        score, place = pairs.flatten(-2).topk(self.top_k, dim=-1)
        return score, slots.flatten(-2).gather(-1, place)
