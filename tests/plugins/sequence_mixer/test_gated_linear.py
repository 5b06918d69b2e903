"""Scalar-decay linear attention against its own definition, row by row."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnetbk.errors import UserError
from resnetbk_plugins.sequence_mixer.gated_linear import GatedLinear


@pytest.mark.parametrize(("rows", "chunk"), [(1, 4), (4, 4), (19, 4), (33, 64), (64, 16)])
def test_chunks_equal_the_recurrence(rows: int, chunk: int) -> None:
    torch.manual_seed(0)
    mixer = GatedLinear(heads=2, keys=3, chunk=chunk).build(width=8, depth=1).double()
    q, k = (torch.randn(2, 2, rows, 3, dtype=torch.float64) for _ in range(2))
    v = torch.randn(2, 2, rows, 4, dtype=torch.float64)
    log_decay = -torch.rand(2, 2, rows, dtype=torch.float64)
    state, expected = torch.zeros(2, 2, 3, 4, dtype=torch.float64), []
    for i in range(rows):
        outer = torch.einsum("bhk,bhv->bhkv", k[:, :, i], v[:, :, i])
        state = log_decay[:, :, i].exp()[..., None, None] * state + outer
        expected.append(torch.einsum("bhk,bhkv->bhv", q[:, :, i], state))
    torch.testing.assert_close(mixer._chunks(q, k, v, log_decay), torch.stack(expected, dim=2))


def test_strong_decay_over_long_chunks_stays_finite() -> None:
    mixer = GatedLinear(heads=1, keys=2, chunk=64).build(width=4, depth=1)
    nn.init.constant_(mixer.step_size.bias, 30.0)
    nn.init.normal_(mixer.output.weight)
    x = torch.randn(1, 130, 4)
    out = mixer(x, torch.arange(130)[None], None)
    out.sum().backward()
    assert bool(out.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in mixer.parameters())


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UserError, match="heads = 3 must divide"):
        GatedLinear(heads=3).build(width=16, depth=1)
