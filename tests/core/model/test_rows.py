"""Rows are gathered, padded and put back where they were, with spare ones under autocast."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnetbk.model.rows import Packing, rounded


@given(count=st.integers(0, 10**6), parts=st.sampled_from([16, 32, 64]))
def test_rounding_adds_at_most_one_part(count: int, parts: int) -> None:
    larger = rounded(count, parts)
    assert count <= larger <= count + count // parts
    if count >= parts:  # few numbers recur: no more than 2 * parts in an octave
        assert (
            len({rounded(other, parts) for other in range(count, 2 * count, max(1, count // 999))})
            <= 2 * parts + 1
        )


def packed(autocast: bool, batch: int = 3, rows: int = 701) -> tuple[Packing, torch.Tensor]:
    mask = torch.rand(batch, rows, generator=torch.Generator().manual_seed(0)) < 0.5
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        return Packing(mask), mask


@pytest.mark.parametrize("autocast", [False, True])
def test_rows_come_back_where_they_were(autocast: bool) -> None:
    packing, mask = packed(autocast)
    x = torch.randn(3, 701, 4)
    taken = packing.take(x)
    assert packing.rows == int(mask.sum())
    assert len(taken) == packing.rows + packing.spare
    assert torch.equal(taken[: packing.rows], x[mask])
    assert torch.equal(packing.put(torch.zeros_like(x), taken), x * mask[..., None])
    padded = packing.pad(taken)
    for b in range(3):
        real = int(packing.length[b])
        assert torch.equal(padded[b, :real], x[b, mask[b]])
        assert not padded[b, real:].any()
    assert torch.equal(packing.unpad(padded), taken)


def test_spare_rows_are_copies_of_the_last_whose_gradient_is_not_counted() -> None:
    gradients = []
    for autocast in (False, True):
        packing, _ = packed(autocast)
        x = torch.randn(3, 701, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
        taken = packing.take(x)
        mixed = packing.unpad(packing.pad(taken).cumsum(1))
        packing.put(torch.zeros_like(x), taken.square() + mixed).square().sum().backward()
        gradients.append(x.grad)
    assert packing.spare > 0
    assert torch.equal(taken[packing.rows :], taken[packing.rows - 1].expand(packing.spare, 4))
    torch.testing.assert_close(*gradients)


def test_outside_autocast_nothing_is_spare() -> None:
    packing, mask = packed(False)
    assert packing.spare == 0
    assert packing.width == int(mask.sum(1).max())
