import math

import numpy as np
import pytest
import torch

from resnetbk.kinds import Batch
from resnetbk.runs import state as states
from resnetbk_plugins.gradient_strategy.cached import Cached
from resnetbk_plugins.gradient_strategy.cached_module import BUCKETS, bigrams
from resnetbk_plugins.gradient_strategy.gradient_vectors import cosine, dot


def run(toy, strategy, batches, first: int = 0) -> list[tuple[bool, dict[str, torch.Tensor]]]:
    """For each step whether it went backward, and its gradients."""
    seen = []
    for step, one in enumerate(batches, start=first):
        toy.calls.clear()
        result = strategy.gradients(step, one, toy.objective)
        (backward,) = {graph for _, graph in toy.calls}
        # the losses are this batch's, whether or not its gradient is
        torch.testing.assert_close(result.window_losses, toy.objective(one).window_losses)
        seen.append((backward, toy.gradients()))
    return seen


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_batch_that_comes_back_takes_over_its_gradient(toy, batch):
    strategy = Cached(sample=0.0).build(weights=toy.weights())
    batches = [batch(4, 1), batch(4, 2), batch(4, 1), batch(4, 3)]
    steps = run(toy, strategy, batches)
    assert [backward for backward, _ in steps] == [True, True, False, True]
    assert same(steps[2][1], steps[0][1])
    assert not same(steps[3][1], steps[0][1])


def test_reuse_is_bounded_by_age_and_count(toy, batch):
    one, other = batch(4, 1), batch(4, 2)
    strategy = Cached(sample=0.0, count=2, age=9).build(weights=toy.weights())
    steps = run(toy, strategy, [one, other, one, one, one, one])
    assert [backward for backward, _ in steps] == [True, True, False, False, True, False]
    strategy = Cached(sample=0.0, count=9, age=2).build(weights=toy.weights())
    steps = run(toy, strategy, [one, other, one, one, one])
    assert [backward for backward, _ in steps] == [True, True, False, True, False]


def test_whoever_clips_a_gradient_does_not_change_the_cached_one(toy, batch):
    strategy = Cached(sample=0.0, similarity=-1.0, count=3).build(weights=toy.weights())
    (_, first), *_ = run(toy, strategy, [batch(4, 1)])
    for _ in range(2):
        for parameter in toy.parameters():
            if parameter.grad is not None:
                values = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
                values.mul_(0)
        ((backward, actual),) = run(toy, strategy, [batch(4, 2)], first=1)
        assert not backward
        assert same(actual, first)


def test_a_sample_of_the_hits_is_measured_and_fresh(toy, batch):
    strategy = Cached(similarity=-1.0, sample=0.5, cosine=-1.0, age=99, count=99).build(weights=toy.weights())
    batches = [batch(4, seed) for seed in range(9)]
    steps = run(toy, strategy, batches)
    assert [backward for backward, _ in steps] == [True] + [True, False] * 4
    assert (strategy.hits, strategy.measured) == (8, 4)
    for number in (1, 3, 5, 7):
        assert same(steps[number][1], toy.plain(batches[number]))
    # measured against the gradient that would have been reused, which is the last fresh one
    cosines = []
    for number, before in ((1, 0), (3, 1), (5, 3), (7, 5)):
        a, b = (torch.cat([steps[i][1][name].flatten() for name in steps[0][1]]) for i in (number, before))
        cosines.append(float(torch.nn.functional.cosine_similarity(a, b, 0)))
    assert strategy.agreement == pytest.approx(np.mean(cosines))


def test_gradients_that_disagree_end_it(toy, batch, caplog):
    strategy = Cached(similarity=-1.0, sample=1.0, cosine=0.99, age=9, count=9).build(weights=toy.weights())
    steps = run(toy, strategy, [batch(1, seed) for seed in range(8)])
    assert all(backward for backward, _ in steps)
    assert strategy.off
    assert strategy.measured == 3
    assert strategy.entries == []
    assert len(caplog.records) == 1
    assert "no more are reused" in caplog.text


def test_a_gradient_that_is_not_finite_is_not_repeated(toy, batch):
    strategy = Cached(similarity=-1.0, sample=0.0).build(weights=toy.weights())
    good = toy.head.bias.detach().clone()
    with torch.no_grad():
        toy.head.bias[0] = math.nan
    strategy.gradients(0, batch(4, 1), toy.objective)
    with torch.no_grad():
        toy.head.bias.copy_(good)
    ((backward, actual),) = run(toy, strategy, [batch(4, 2)], first=1)
    assert backward
    assert all(torch.isfinite(gradient).all() for gradient in actual.values())


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 6, 9])
def test_a_restored_state_goes_on_bit_for_bit(toy, batch, stop):
    options = Cached(similarity=-1.0, sample=0.4, cosine=-1.0, accumulate=2)
    batches = [batch(4, seed) for seed in range(12)]
    whole = run(toy, strategy := options.build(weights=toy.weights()), batches)
    strategy = options.build(weights=toy.weights())
    run(toy, strategy, batches[:stop])
    skeleton, tensors = states.split(strategy.state())
    resumed = options.build(weights=toy.weights())
    resumed.restore(states.join(skeleton, {name: tensor.clone() for name, tensor in tensors.items()}))
    rest = run(toy, resumed, batches[stop:], first=stop)
    for (one, a), (other, b) in zip(whole[stop:], rest, strict=True):
        assert one == other
        assert same(a, b)


def test_histograms_tell_batches_apart_and_hold_pairs():
    tokens = torch.tensor([[1, 2, 1, 2, 1], [2, 1, 2, 1, 2]])
    actual = bigrams(tokens)
    assert actual.shape == (BUCKETS,)
    assert sorted(actual[actual > 0]) == [0.5, 0.5]
    assert bigrams(torch.tensor([[3], [4]])).sum() == pytest.approx(1.0)
    spread = bigrams(torch.arange(2000)[None])
    assert (spread > 0).sum() > 1400, "1999 pairs in 4096 buckets, few of them together"


def sparse(rows: list[int]) -> torch.Tensor:
    values = torch.randn(len(rows), 2)
    actual = torch.sparse_coo_tensor(
        torch.tensor([rows], dtype=torch.long), values, (7, 2), check_invariants=True
    )
    return actual.coalesce()


def test_sparse_and_dense_gradients_have_one_inner_product():
    a, b, empty = sparse([0, 2, 5]), sparse([2, 5, 6]), sparse([])
    dense = float((a.to_dense() * b.to_dense()).sum())
    assert dot((a, None), (b, None)) == pytest.approx(dense, rel=1e-5)
    assert dot((a,), (b.to_dense(),)) == pytest.approx(dense, rel=1e-5)
    assert dot((a.to_dense(),), (b,)) == pytest.approx(dense, rel=1e-5)
    assert dot((a,), (empty,)) == 0.0
    assert cosine((a,), (empty,)) == 0.0
    assert cosine((a,), (a,)) == pytest.approx(1.0)


def test_settings_out_of_range_are_refused():
    for wrong in ({"similarity": 1.5}, {"cosine": -2.0}, {"sample": 1.1}, {"age": 0}, {"count": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Cached(**wrong)


def test_one_batch_alone_is_like_no_other(toy):
    """At the second step the two histograms lie on opposite sides of their mean."""
    strategy = Cached(similarity=0.0, sample=0.0).build(weights=toy.weights())
    tokens = torch.arange(8)[None] % 11
    batches = [Batch(tokens[:, :-1], tokens[:, 1:]), Batch(tokens.flip(1)[:, :-1], tokens.flip(1)[:, 1:])]
    assert [backward for backward, _ in run(toy, strategy, batches)] == [True, True]
