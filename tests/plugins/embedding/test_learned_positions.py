from __future__ import annotations

import pytest
import torch

from resnetbk.errors import UserError
from resnetbk_plugins.embedding.learned_positions import LearnedPositions


def test_rows_are_token_plus_position() -> None:
    embedding = LearnedPositions(length=4).build(vocabulary=5, width=3)
    tokens = torch.tensor([[4, 0, 4, 2]])
    actual = embedding(tokens, torch.arange(4)[None])[0]
    assert torch.equal(actual, embedding.table.weight[tokens[0]] + embedding.places.weight)


def test_a_sequence_past_the_length_names_the_key() -> None:
    embedding = LearnedPositions(length=4).build(vocabulary=5, width=3)
    with pytest.raises(UserError) as caught:
        embedding(torch.zeros(1, 5, dtype=torch.int64), torch.arange(5)[None])
    assert str(caught.value) == (
        "model.embedding: a sequence of 5 tokens is longer than length = 4; "
        "raise model.embedding.length or use an embedding without learned positions"
    )
    with pytest.raises(UserError, match="6 tokens"):
        embedding.step(torch.tensor([0, 0]), torch.tensor([3, 5]), {})


def test_length_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"^'length' must be >= 1: 0$"):
        LearnedPositions(length=0)
