"""PonderNet: a distribution over depths, its divergence from the prior, and where rows halt."""

from __future__ import annotations

import pytest
import synthetic as s
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

from resnetbk.kinds import Batch, Rows, Stack
from resnetbk.training.objective import objective
from resnetbk_plugins.halting_policy.ponder import Ponder
from resnetbk_plugins.halting_policy.ponder_module import log_geometric


class Told(nn.Module):
    """A unit whose logit is the first number of the row."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def policy_of(layers: int, **keys: float):
    policy = Ponder(**{"leave": 0.0, **keys}).build(width=3, stacks=(Stack(0, tuple(range(layers))),))
    policy.units = nn.ModuleDict({name: Told() for name in policy.units})
    return policy


def learned(policy, seen: Tensor):
    """A pass in training over the states (layers, B, M, D)."""
    halting = policy.train().begin(0, Rows(torch.zeros_like(seen[0]), torch.arange(seen.shape[2])[None]))
    for layer, x in enumerate(seen):
        assert halting.running is None
        halting.observe(layer, x)
    return halting.finish()


shapes = given(
    layers=st.integers(1, 6), count=st.integers(1, 5), scale=st.floats(0, 8), seed=st.integers(0, 99)
)


def states(layers: int, count: int, scale: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    seen = torch.randn(layers, 2, count, 3, generator=generator, dtype=torch.float64)
    seen[..., 0] *= scale
    return seen


@settings(max_examples=30, deadline=None)
@shapes
def test_weights_and_penalty_are_those_of_the_paper(layers, count, scale, seed) -> None:
    seen = states(layers, count, scale, seed)
    left = learned(policy_of(layers, prior=0.3, weight=0.5), seen)
    chance = torch.sigmoid(seen[..., 0])
    chance[-1] = 1.0
    expected, going = [], torch.ones(2, count, dtype=torch.float64)
    for each in chance:
        expected.append(each * going)
        going = going * (1 - each)
    weights = torch.stack([exit.weight for exit in left.exits])
    torch.testing.assert_close(weights, torch.stack(expected))
    torch.testing.assert_close(weights.sum(0), torch.ones(2, count, dtype=torch.float64))
    for exit, x in zip(left.exits, seen, strict=True):
        assert torch.equal(exit.x, x)
        assert exit.confidence is None
    prior = Categorical(0.3 * 0.7 ** torch.arange(layers, dtype=torch.float64))
    distance = kl_divergence(Categorical(weights.movedim(0, -1)), prior).mean()
    torch.testing.assert_close(left.penalties["ponder"], 0.5 * distance, rtol=1e-6, atol=1e-9)


@settings(max_examples=30, deadline=None)
@shapes
def test_training_reports_the_row_that_would_have_left(layers, count, scale, seed) -> None:
    seen = states(layers, count, scale, seed).requires_grad_()
    policy = policy_of(layers, halt=0.6)
    left = learned(policy, seen)
    assert not left.x.requires_grad
    halting = policy.eval().begin(0, Rows(torch.zeros_like(seen[0]), torch.arange(count)[None]))
    x, ran = torch.zeros_like(seen[0]), torch.zeros(2, count)
    for layer, after in enumerate(seen):
        running = torch.ones(2, count, dtype=bool) if halting.running is None else halting.running
        x, ran = torch.where(running[..., None], after, x), ran + running
        halting.observe(layer, x)
    finished = halting.finish()
    torch.testing.assert_close(finished.x, left.x)
    assert not finished.exits
    reached = torch.stack([exit.weight for exit in left.exits]).cumsum(0) >= 0.6
    assert torch.equal(ran, 1 + (~reached[:-1]).sum(0))


@settings(max_examples=30, deadline=None)
@shapes
def test_rows_chosen_to_leave_do_so_where_they_would_later(layers, count, scale, seed) -> None:
    """The exit where they halt has all remaining weight; only the other rows count in the divergence."""
    seen = states(layers, count, scale, seed)
    whole = learned(policy_of(layers, weight=1.0), seen)
    policy = policy_of(layers, weight=1.0, leave=0.5).train()
    halting = policy.begin(0, Rows(torch.zeros_like(seen[0]), torch.arange(count)[None]))
    chosen, ran = halting._may_leave.view(2, count), torch.zeros(2, count, dtype=torch.long)
    for layer, x in enumerate(seen):
        ran += 1 if halting.running is None else halting.running
        halting.observe(layer, x)
    left = halting.finish()
    torch.testing.assert_close(left.x, whole.x)
    p = torch.stack([exit.weight for exit in whole.exits])
    assume(not bool(((p.cumsum(0)[:-1] - 0.5).abs() < 1e-6).any()))  # which side that is, rounding decides
    depth = 1 + (p.cumsum(0)[:-1] < 0.5).sum(0)
    assert torch.equal(ran, torch.where(chosen, depth, layers))
    layer = torch.arange(1, layers + 1)[:, None, None]
    gone = torch.where(layer < depth, p, 0) + torch.where(layer == depth, 1 - p.cumsum(0) + p, 0)
    weights = torch.stack([exit.weight for exit in left.exits])
    torch.testing.assert_close(weights, torch.where(chosen, gone, p))
    prior = torch.tensor(policy.log_prior, dtype=torch.float64)[:, None, None]
    distance = torch.where(p > 0, p * (p.clamp(min=1e-300).log() - prior), 0).sum(0)[~chosen]
    expected = distance.sum() / max(1, len(distance))
    torch.testing.assert_close(left.penalties["ponder"], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("rate", "layers", "mean"), [(0.2, 4, 2.22), (0.4, 4, 1.90), (0.5, 1, 1.0)])
def test_the_prior_is_a_distribution_whose_mean_the_keys_documentation_gives(rate, layers, mean) -> None:
    p = torch.tensor(log_geometric(rate, layers)).exp()
    assert float(p.sum()) == pytest.approx(1.0)
    assert float((p * torch.arange(1, layers + 1)).sum()) == pytest.approx(mean, abs=0.01)


def test_at_first_all_layers_run_and_the_weight_grows() -> None:
    policy = Ponder(weight=0.4, warmup=0.5).build(width=8, stacks=(Stack(0, (0, 1, 2, 3)),))
    assert all(torch.sigmoid(unit.bias) < 0.05 for unit in policy.units.values())
    weights = []
    for progress in (0.0, 0.25, 0.5, 0.9):
        policy.anneal(progress)
        weights.append(policy.weight)
    assert weights == pytest.approx([0.0, 0.2, 0.4, 0.4])
    never = Ponder(weight=0.4, warmup=0.0).build(width=8, stacks=(Stack(0, (0, 1)),))
    never.anneal(0.0)
    assert never.weight == 0.4


def trained(prior: float) -> float:
    """The layers run for each token after a training with a large weight of the prior."""
    torch.manual_seed(0)
    halting = Ponder(prior=prior, weight=1.0).build(width=s.WIDTH, stacks=(Stack(0, (0, 1, 2, 3)),))
    model = s.build(halting=halting).float()
    known = (torch.arange(17) + torch.arange(8)[:, None]) % s.VOCABULARY
    batch = Batch(known[:, :-1], known[:, 1:])
    rate = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        rate.zero_grad()
        result, _ = objective(model, batch, "fp32")
        result.loss.backward()
        rate.step()
    return sum(model.eval()(batch.inputs).rows) / batch.inputs.numel()


def test_a_prior_of_shallow_depths_makes_them_shallow() -> None:
    assert trained(0.9) < trained(0.1) - 0.5


@pytest.mark.parametrize(("key", "value"), [("prior", 1.0), ("weight", -1.0), ("halt", 0.0)])
def test_keys_out_of_range_are_refused(key, value) -> None:
    with pytest.raises(ValueError, match=key):
        Ponder(**{key: value})
