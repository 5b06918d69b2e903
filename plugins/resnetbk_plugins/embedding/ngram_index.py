"""An n-gram model of a text, indexed so that distributions of the next token can be looked up.

Interpolated Kneser-Ney with three discounts an order (Chen and Goodman, 1999, "modified Kneser-Ney"): for a
context h and its tail h',

    p(w | h) = (c(hw) - D(c(hw)) + S(h) p(w | h')) / c(h),    S(h) = sum of D(c(hv)) over the v seen after h

c counts occurrences at the highest order and, below it, the different tokens that stand before an n-gram.
Below order 1 stands the uniform distribution, and an unseen h leaves p(w | h').
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor


@attrs.frozen(eq=False)
class _Order:
    """The E different n-grams of one length, and the G contexts before their last tokens.

    keys   (E,) int64, rising: the context's id * base + the last token, so that n-grams of one context are
           neighbours; an n-gram's place here is its id
    first  (G + 1,) int64: where the n-grams of each context begin
    share  (E,) float32: (c(hw) - D(c(hw))) / c(h)
    lower  (G,) float32: S(h) / c(h), the weight of the next lower order
    """

    keys: Tensor
    first: Tensor
    share: Tensor
    lower: Tensor


class NgramIndex:
    """The n-grams up to `order` of `text` (T,), on its device: integer tokens below `vocabulary`, and
    `vocabulary` itself between sequences, which is context but is never predicted."""

    def __init__(self, text: Tensor, vocabulary: int, order: int) -> None:
        self.vocabulary, self.base = vocabulary, vocabulary + 1
        text = text.long()
        keys: list[Tensor] = []
        ids = [text.new_zeros(len(text) + 1)]  # ids[n][i] is that of the n-gram which begins at i
        for n in range(order):
            known = max(len(text) - n, 0)
            unique, inverse = (ids[n][:known] * self.base + text[n:]).unique(return_inverse=True)
            keys.append(unique)
            ids.append(inverse)
        self.orders = []
        for n in range(order):
            occurring = ids[n + 1]
            if n + 1 < order:  # each n-gram that is one longer, at its tail
                tail = text.new_zeros(len(keys[n + 1]))
                tail[ids[n + 2]] = occurring[1:]
                occurring = tail
            counts = occurring.bincount(minlength=len(keys[n]))
            counts[keys[n] % self.base == vocabulary] = 0
            self.orders.append(self._order(keys[n], counts, len(keys[n - 1]) if n else 1))

    def _order(self, keys: Tensor, counts: Tensor, contexts: int) -> _Order:
        context = keys // self.base

        def by_context(numbers: Tensor) -> Tensor:  # sums of integers, in any order the same
            return numbers.new_zeros(contexts).index_add_(0, context, numbers)

        discounts = _discounts(counts)
        total, spread = by_context(counts), torch.zeros(contexts, dtype=torch.float64, device=keys.device)
        for count, discount in enumerate(discounts):
            spread += discount * by_context((counts.clamp(max=3) == count).long())
        seen = total.clamp(min=1)
        taken = keys.new_tensor(discounts, dtype=torch.float64)[counts.clamp(max=3)]
        return _Order(
            keys,
            torch.searchsorted(context, torch.arange(contexts + 1, device=keys.device)),
            ((counts - taken) / seen[context]).float(),
            torch.where(total > 0, spread / seen, 1.0).float(),
        )

    def predict(self, tokens: Tensor, before: int) -> tuple[Tensor, Tensor]:
        """(B, before + N) -> p (B, N, V) of the token after each of the last N, and (B, N, order), the weight
        that each order left to the next lower one."""
        batch, count = tokens.shape[0], tokens.shape[1] - before
        p = torch.full((batch * count, self.vocabulary), 1.0 / self.vocabulary, device=tokens.device)
        lower = torch.ones(batch * count, len(self.orders), device=tokens.device)
        ids = torch.zeros_like(tokens)  # of the n-gram that ends at each token, -1 if it was never seen
        for n, order in enumerate(self.orders):
            if n:
                earlier = ids if n == 1 else torch.cat((torch.full_like(ids[:, :1], -1), ids[:, :-1]), dim=1)
                ids = self._longer(self.orders[n - 1].keys, earlier, tokens)
            here = ids[:, before:].flatten()
            (row,) = (here >= 0).nonzero(as_tuple=True)
            lower[row, n] = order.lower[here[row]]
            p *= lower[:, n, None]
            first, size = order.first[here[row]], order.first.diff()[here[row]]
            shift = (first - size.cumsum(0) + size).repeat_interleave(size)
            entry = torch.arange(len(shift), device=tokens.device) + shift
            token = order.keys[entry] % self.base
            at = row.repeat_interleave(size) * self.vocabulary + token.clamp_max(self.vocabulary - 1)
            p.view(-1).index_add_(0, at, order.share[entry])  # that of a separator is 0
        return p.view(batch, count, self.vocabulary), lower.view(batch, count, len(self.orders))

    def _longer(self, keys: Tensor, earlier: Tensor, tokens: Tensor) -> Tensor:
        """The ids of n-grams from those of all but their last tokens, and these."""
        if not len(keys):
            return torch.full_like(earlier, -1)
        wanted = earlier * self.base + tokens
        at = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        return torch.where((earlier >= 0) & (keys[at] == wanted), at, -1)


def _discounts(counts: Tensor) -> list[float]:
    """What to take from counts of 0, 1, 2, and 3 or more: D_k = k - (k + 1) Y n_{k+1} / n_k with
    Y = n_1 / (n_1 + 2 n_2), n_k the n-grams counted k times; 0.75 where those are too few to tell."""
    n = counts.clamp(max=5).bincount(minlength=6).tolist()
    result = [0.0, 0.75, 0.75, 0.75]
    for k in (1, 2, 3):
        if n[1] and n[2] and n[k] and n[k + 1]:
            ratio = n[1] / (n[1] + 2 * n[2])
            result[k] = min(max(k - (k + 1) * ratio * n[k + 1] / n[k], 0.1), k)
    return result
