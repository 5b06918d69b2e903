from __future__ import annotations

import copy

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from resnetbk_instrument.results.ngram_baseline import probabilities
from resnetbk_plugins.embedding.ngram_counts import NgramCounts
from resnetbk_plugins.embedding.ngram_counts_module import NgramCountsEmbedding
from resnetbk_plugins.embedding.ngram_index import NgramIndex

V = 5


def text(length: int, seed: int = 0) -> np.ndarray:
    """Tokens that often continue as they did before."""
    draw = np.random.default_rng(seed)
    tokens = [0, 1, 2]
    while len(tokens) < length:
        usual = (tokens[-1] + 2 * tokens[-2] + tokens[-3]) % V
        tokens.append(int(usual if draw.random() < 0.7 else draw.integers(V)))
    return np.array(tokens[:length])


def built(order: int = 4, capacity: int = 10_000) -> NgramCountsEmbedding:
    torch.manual_seed(0)
    embedding = NgramCounts(order=order, capacity=capacity).build(vocabulary=V, width=6)
    assert isinstance(embedding, NgramCountsEmbedding)
    return embedding


def rows(embedding: NgramCountsEmbedding, tokens: Tensor) -> Tensor:
    return embedding(tokens, torch.arange(tokens.shape[1]).expand_as(tokens))


def learned(embedding: NgramCountsEmbedding, tokens: Tensor) -> Tensor:
    """Its rows of the tokens, which it has read after them, as in a step of training."""
    before = rows(embedding, tokens)
    embedding.learn_tokens(tokens)
    return before


@pytest.mark.parametrize("order", [2, 3, 7])
def test_an_index_predicts_what_the_ngram_baseline_does(order: int) -> None:
    train, valid = text(3000), text(400, seed=1)
    expected = probabilities(train, valid, V, (order,))[order]
    p, lower = NgramIndex(torch.from_numpy(train), V, order).predict(torch.from_numpy(valid)[None, :-1], 0)
    torch.testing.assert_close(p.sum(-1), torch.ones(1, len(valid) - 1))
    actual = p[0].gather(1, torch.from_numpy(valid)[1:, None])[:, 0].numpy()
    np.testing.assert_allclose(actual[order:], expected[order:], rtol=1e-5)
    assert lower.shape == (1, len(valid) - 1, order)
    assert ((lower > 0) & (lower <= 1)).all()


def test_a_separator_is_context_but_is_never_predicted() -> None:
    index = NgramIndex(torch.tensor([0, 1, V, 2, 1, V, 2, 1, V]), V, 3)
    p, _ = index.predict(torch.tensor([[V, 2, 0]]), 0)
    torch.testing.assert_close(p.sum(-1), torch.ones(1, 3))
    assert p[0, 0].argmax() == 2  # what stands after a separator
    assert p[0, 1].argmax() == 1


def test_nothing_read_predicts_nothing() -> None:
    p, lower = NgramIndex(torch.empty(0, dtype=torch.int64), V, 4).predict(torch.tensor([[3, 1]]), 0)
    assert (p == 1 / V).all()
    assert (lower == 1).all()


def test_a_window_meets_only_the_counts_of_those_before_it() -> None:
    embedding, windows = built().train(), torch.from_numpy(text(512)).view(8, 64)
    for seen in range(8):
        fresh = built().train()
        for earlier in windows[:seen]:
            learned(fresh, earlier[None])
        torch.testing.assert_close(rows(fresh, windows[seen, None]), learned(embedding, windows[seen, None]))
    assert int(embedding.used) == 8 * 65
    first = rows(built().train(), windows[:1])
    assert not first.isclose(rows(embedding, windows[:1])).all(), "counts changed nothing"


def test_evaluation_knows_all_that_was_read_and_changes_nothing_in_training() -> None:
    windows = torch.from_numpy(text(1300)).view(20, 65)
    one, other = built().train(), built().train()
    for window in windows:
        first, second = learned(one, window[None]), learned(other, window[None])
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        rows(one.eval(), windows[:1])
        one.train()
    assert int(one.indexed) < int(one.used)
    p, _ = one.eval()._index().predict(windows[:1], 0)
    everything = NgramIndex(one.read[: int(one.used)], V, 4)
    torch.testing.assert_close(p, everything.predict(windows[:1], 0)[0], rtol=0, atol=0)


def test_what_is_read_is_saved_and_replaces_what_another_had_read() -> None:
    one, other = built().train(), built().train()
    for seed in range(3):
        learned(one, torch.from_numpy(text(90, seed))[None])
        learned(other, torch.from_numpy(text(90, seed + 9))[None])
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    tokens = torch.from_numpy(text(50, 7))[None]
    torch.testing.assert_close(rows(other, tokens), rows(one, tokens), rtol=0, atol=0)
    torch.testing.assert_close(rows(other.eval(), tokens), rows(one.eval(), tokens), rtol=0, atol=0)


def test_reading_ends_when_the_capacity_is_used() -> None:
    embedding = built(capacity=100).train()
    for seed in range(3):
        learned(embedding, torch.from_numpy(text(60, seed))[None])
    assert int(embedding.used) == 100
    assert (embedding.read[61:100].numpy() == text(60, 1)[:39]).all()


def test_tokens_one_at_a_time_give_the_rows_of_a_pass() -> None:
    embedding, tokens = built().train(), torch.from_numpy(text(40))[None]
    learned(embedding, tokens)
    whole, state = rows(embedding.eval(), tokens), embedding.initial_state(1)
    for i in range(40):
        row, state = embedding.step(tokens[:, i], torch.tensor([i]), state)
        torch.testing.assert_close(row, whole[:, i])


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path) -> None:
    counts = 'embedding = { use = "ngram-counts", order = 4 }'
    more = "save = 1\nkeep = 100\nevaluate = 3"
    trial = tiny.experiment(tmp_path, embedding=counts, steps="steps = 9", more=more)
    run = trial.train(tmp_path / "whole")
    embedding = run.model.embedding
    assert int(embedding.used) == 9 * 4 * 17
    assert int(embedding.indexed) < int(embedding.used)
    for step in (0, 5, 8):
        resumed = trial.train(tiny.stopped(run.folder.path, step, tmp_path / str(step)), resume=True)
        assert resumed.report.loss == run.report.loss
        for name, tensor in run.model.state_dict().items():
            assert torch.equal(resumed.model.state_dict()[name], tensor), name


def test_a_step_reads_its_windows_once_and_after_all_its_passes(tmp_path) -> None:
    counts, losses = 'embedding = { use = "ngram-counts", order = 4 }', []
    for accumulate in (1, 2):
        folder = tmp_path / str(accumulate)
        folder.mkdir()
        more = f"gradient = {{ accumulate = {accumulate} }}"
        trial = tiny.experiment(folder, embedding=counts, steps="steps = 3", more=more)
        run = trial.train(folder / "run")
        assert int(run.model.embedding.used) == 3 * 4 * 17
        losses.append([record["loss"] for record in run.folder.metrics() if "loss" in record])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
