"""Properties of every embedding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from resnetbk_plugins.embedding.learned_positions import LearnedPositions
from resnetbk_plugins.embedding.ngram_counts import NgramCounts
from resnetbk_plugins.embedding.ngram_hash import NgramHash
from resnetbk_plugins.embedding.table import Table

VOCABULARY, WIDTH = 7, 6
COMPONENTS = {
    "table": Table(),
    "learned-positions": LearnedPositions(length=40),
    "ngram-hash": NgramHash(order=3, rows=50),
    "ngram-counts": NgramCounts(order=3, capacity=99),
}
every_embedding = pytest.mark.parametrize("name", COMPONENTS)


def built(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    embedding = COMPONENTS[name].build(vocabulary=VOCABULARY, width=WIDTH)
    for parameter in embedding.parameters():
        nn.init.normal_(parameter)
    return embedding.eval()  # training would read what passes are given


def sequence(batch: int, count: int) -> tuple[Tensor, Tensor]:
    return torch.randint(VOCABULARY, (batch, count)), torch.arange(count).expand(batch, count)


@every_embedding
def test_weight_is_the_token_table(name: str) -> None:
    embedding = built(name)
    assert embedding.weight is embedding.table.weight
    assert embedding.weight.shape == (VOCABULARY, WIDTH)


@every_embedding
def test_the_table_starts_normal_with_its_std(name: str) -> None:
    torch.manual_seed(0)
    component = type(COMPONENTS[name])(std=0.1)
    weight = component.build(vocabulary=500, width=64).weight
    assert weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert abs(weight.mean().item()) < 0.005


@every_embedding
@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 40), cut=st.floats(0, 1), seed=st.integers(0, 99))
def test_rows_do_not_see_later_tokens(name: str, count: int, cut: float, seed: int) -> None:
    embedding = built(name, seed)
    tokens, position = sequence(2, count)
    common = 1 + int(cut * (count - 2))
    other = tokens.clone()
    other[:, common:] = (other[:, common:] + 1) % VOCABULARY
    before, after = embedding(tokens, position), embedding(other, position)
    assert torch.equal(before[:, :common], after[:, :common])
    assert not torch.equal(before[:, common:], after[:, common:])


@every_embedding
def test_streaming_equals_parallel(name: str) -> None:
    embedding = built(name)
    tokens, position = sequence(3, 25)
    state, actual = embedding.initial_state(3), []
    for i in range(25):
        row, state = embedding.step(tokens[:, i], position[:, i], state)
        actual.append(row)
    torch.testing.assert_close(torch.stack(actual, dim=1), embedding(tokens, position))


@every_embedding
@pytest.mark.parametrize(("batch", "count"), [(2, 0), (0, 3), (1, 1)])
def test_any_number_of_tokens(name: str, batch: int, count: int) -> None:
    actual = built(name)(*sequence(batch, count))
    assert actual.shape == (batch, count, WIDTH)
    actual.sum().backward()


@every_embedding
def test_gradients_reach_every_parameter_and_repeat_exactly(name: str) -> None:
    embedding = built(name)
    tokens, position = sequence(2, 9)
    toward = torch.randn(2, 9, WIDTH)
    runs = []
    for _ in range(2):
        embedding.zero_grad()
        (embedding(tokens, position) * toward).sum().backward()
        runs.append([p.grad.to_dense() for p in embedding.parameters()])
    for (key, _), first, second in zip(embedding.named_parameters(), *runs, strict=True):
        assert bool((first != 0).any()), key
        assert torch.equal(first, second), key


@every_embedding
def test_bfloat16_runs(name: str) -> None:
    embedding = built(name)
    exact = embedding(*sequence(2, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert embedding(*sequence(2, 5)).shape == exact.shape
    rough = embedding.to(torch.bfloat16)(*sequence(2, 5))
    assert rough.dtype == torch.bfloat16


@every_embedding
def test_state_dict_round_trip(name: str) -> None:
    first, second = built(name, 0), built(name, 1)
    tokens, position = sequence(2, 9)
    assert not torch.equal(first(tokens, position), second(tokens, position))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(tokens, position), second(tokens, position))


@every_embedding
def test_std_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=r"^'std' must be > 0.0: 0.0$"):
        type(COMPONENTS[name])(std=0.0)
