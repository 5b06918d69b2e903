from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from resnetbk_plugins.embedding.ngram_hash import NgramHash
from resnetbk_plugins.embedding.ngram_hash_module import BEFORE, MIX, ROLL, ngram_rows

WORD = 2**64


def signed(value: int) -> int:
    return (value + WORD // 2) % WORD - WORD // 2


def row_of(ngram: list[int], rows: int) -> int:
    """The hash in Python integers, oldest token first."""
    value = 0
    for token in reversed(ngram):
        value = signed(value * ROLL + token + 2)
    for shift, factor in zip((30, 27), MIX, strict=True):
        value = signed((value ^ (value >> shift)) * factor)
    return (value >> 32) % 2**32 * rows >> 32


@given(
    tokens=st.lists(st.integers(BEFORE, 2**31), min_size=4, max_size=9),
    rows=st.sampled_from([1, 2, 50, 8192, 2**31]),
)
def test_hashes_equal_whole_number_arithmetic(tokens: list[int], rows: int) -> None:
    actual = ngram_rows(torch.tensor([tokens]), 4, rows)
    assert actual.shape == (1, len(tokens) - 3, 3)
    for i in range(len(tokens) - 3):
        for n in (2, 3, 4):
            assert actual[0, i, n - 2] == row_of(tokens[i + 4 - n : i + 4], rows)


@pytest.mark.parametrize("rows", [8192, 5000])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_every_ngram_of_a_small_alphabet_spreads_evenly(order: int, rows: int) -> None:
    """Structured keys, the hard case for a weak hash: counts per row are Poisson (chi-square)."""
    letters = {2: 256, 3: 40, 4: 16}[order]
    keys = torch.cartesian_prod(*[torch.arange(letters)] * order)
    actual = ngram_rows(keys, order, rows)[:, 0, order - 2]
    counts = torch.bincount(actual, minlength=rows).double()
    expected = len(keys) / rows
    excess = ((counts - expected).square().sum() / expected - (rows - 1)) / math.sqrt(2 * (rows - 1))
    assert abs(float(excess)) < 4
    assert len(counts) == rows


def test_ngram_lengths_hash_apart() -> None:
    """Rows of one text under different n agree no more often than chance."""
    tokens = torch.randint(0, 30, (1, 20003), generator=torch.Generator().manual_seed(0))
    actual = ngram_rows(tokens, 4, 64)[0]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        agree = (actual[:, a] == actual[:, b]).double().mean()
        assert abs(float(agree) - 1 / 64) < 0.005


def test_rows_are_the_token_plus_its_ngrams() -> None:
    torch.manual_seed(0)
    embedding = NgramHash(order=3, rows=11).build(vocabulary=5, width=4)
    nn.init.normal_(embedding.hashed.weight)
    tokens = [3, 0, 4, 1]
    actual = embedding(torch.tensor([tokens]), torch.arange(4)[None])[0]
    padded = [BEFORE, BEFORE, *tokens]
    for i in range(4):
        pair = embedding.hashed.weight[row_of(padded[i + 1 : i + 3], 11)]
        triple = embedding.hashed.weight[11 + row_of(padded[i : i + 3], 11)]
        torch.testing.assert_close(actual[i], embedding.table.weight[tokens[i]] + pair + triple)


def test_at_first_it_is_a_plain_table() -> None:
    embedding = NgramHash().build(vocabulary=5, width=4)
    tokens = torch.randint(5, (2, 30))
    assert torch.equal(embedding(tokens, tokens), F.embedding(tokens, embedding.weight))


def test_the_gradient_of_the_hashed_rows_is_sparse_and_right() -> None:
    embedding = NgramHash(order=3, rows=20).build(vocabulary=5, width=4)
    tokens = torch.randint(5, (2, 30))
    toward = torch.randn(2, 30, 4)
    (embedding(tokens, tokens) * toward).sum().backward()
    grad = embedding.hashed.weight.grad
    assert grad is not None
    assert grad.is_sparse
    actual = ngram_rows(F.pad(tokens, (2, 0), value=BEFORE), 3, 20)
    expected = torch.zeros(40, 4)
    expected.index_add_(0, actual[..., 0].flatten(), toward.flatten(0, 1))
    expected.index_add_(0, 20 + actual[..., 1].flatten(), toward.flatten(0, 1))
    torch.testing.assert_close(grad.to_dense(), expected)


def test_a_step_needs_the_last_tokens_only() -> None:
    embedding = NgramHash(order=3, rows=20).build(vocabulary=5, width=4)
    state = embedding.initial_state(2)
    assert state["tokens"].tolist() == [[BEFORE, BEFORE]] * 2
    for i in range(3):
        _, state = embedding.step(torch.tensor([i, 4]), torch.tensor([i, i]), state)
    assert state["tokens"].tolist() == [[1, 2], [4, 4]]


@pytest.mark.parametrize(
    ("keys", "message"), [({"order": 1}, "'order' must be >= 2: 1"), ({"rows": 0}, "'rows' must be >= 1: 0")]
)
def test_mistakes_are_named(keys: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        NgramHash(**keys)
