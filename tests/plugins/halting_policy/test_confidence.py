"""Early exit by confidence: its loss, dropped rows, and whether the confidence is calibrated."""

from __future__ import annotations

import pytest
import synthetic as s
import torch
from torch import Tensor

from resnetbk.kinds import Batch, Rows, Stack
from resnetbk.training.objective import objective
from resnetbk_plugins.halting_policy.confidence import Confidence

ONE = (Stack(0, (0, 1, 2, 3)),)


def policy_of(**keys: float):
    return Confidence(**keys).build(width=s.WIDTH, stacks=ONE)


def rows(batch: int, count: int) -> Rows:
    return Rows(torch.randn(batch, count, s.WIDTH), torch.arange(count).repeat(batch, 1))


def learned(policy, batch: int = 2, count: int = 6):
    """A pass in training; the depth of each row by its masks, and the result."""
    halting, ran = policy.train().begin(0, rows(batch, count)), torch.zeros(batch, count)
    for layer in range(4):
        ran += 1 if halting.running is None else halting.running
        halting.observe(layer, torch.randn(batch, count, s.WIDTH, requires_grad=True))
    return ran, halting.finish()


def test_exits_weigh_as_asked_and_sum_to_one() -> None:
    _, left = learned(policy_of(weight=0.5, drop=0.0))
    weights = torch.stack([exit.weight for exit in left.exits])
    torch.testing.assert_close(weights[:, 0, 0], torch.tensor([0.2, 0.2, 0.2, 0.4]))
    torch.testing.assert_close(weights.sum(0), torch.ones(2, 6))
    assert left.x is left.exits[-1].x
    assert left.exits[-1].confidence is None


def test_units_read_rows_without_reaching_back() -> None:
    _, left = learned(policy_of(drop=0.0))
    sum(exit.confidence.sum() for exit in left.exits[:-1]).backward()
    assert all(exit.x.grad is None for exit in left.exits)


def test_rows_are_dropped_after_an_inner_layer_and_count_in_no_deeper_one() -> None:
    torch.manual_seed(0)
    policy = policy_of(drop=0.3)
    ran, left = learned(policy, 40, 100)
    share = torch.tensor([float((ran == depth).float().mean()) for depth in (1, 2, 3, 4)])
    torch.testing.assert_close(share, torch.tensor([0.1, 0.1, 0.1, 0.7]), rtol=0, atol=0.02)
    for depth, exit in enumerate(left.exits, start=1):
        counted = exit.weight > 0
        assert torch.equal(counted, ran >= depth)
        assert exit.weight[counted].unique().tolist() == [pytest.approx(policy.weights[depth - 1])]
        if exit.confidence is not None:
            assert torch.equal(exit.confidence != 0, ran == 4)  # dropped rows train no unit


def test_nothing_is_dropped_later() -> None:
    halting = policy_of(drop=0.9, agree=1.0).eval().begin(0, rows(2, 6))
    for layer in range(4):
        halting.observe(layer, torch.randn(2, 6, s.WIDTH))
    assert halting.running is None


@pytest.mark.parametrize("agree", [0.3, 0.5, 0.8])
def test_a_row_halts_where_agreement_is_probable_enough(agree: float) -> None:
    torch.manual_seed(0)
    policy = policy_of(agree=agree).eval()
    for unit in policy.units.values():
        torch.nn.init.normal_(unit.readout, std=4.0)
    halting, on = policy.begin(0, rows(5, 40)), torch.ones(5, 40, dtype=torch.bool)
    counts = []
    for layer in range(3):
        x = torch.randn(5, 40, s.WIDTH)
        halting.observe(layer, x)
        logit = policy.units[str(layer)](x.flatten(0, 1)).view(5, 40)
        on &= torch.sigmoid(logit) < agree
        counts.append(int(on.sum()))
        assert torch.equal(halting.running, on)
    assert any(0 < each < on.numel() for each in counts)
    left = halting.finish()
    assert left.x is x
    assert not left.exits


def text(batch: int, seed: int) -> Tensor:
    """Tokens of which some are followed by their successor and others by random tokens."""
    generator = torch.Generator().manual_seed(seed)
    column = torch.randint(s.VOCABULARY, (batch,), generator=generator)
    columns = [column]
    for _ in range(24):
        anything = torch.randint(s.VOCABULARY, (batch,), generator=generator)
        sure = torch.rand(batch, generator=generator) < column / s.VOCABULARY
        column = torch.where(sure, (column + 1) % s.VOCABULARY, anything)
        columns.append(column)
    return torch.stack(columns, 1)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = s.build(halting=policy_of()).float()
    rate = torch.optim.Adam(model.parameters())
    for step in range(150):
        rate.param_groups[0]["lr"] = 0.03 * (1 - step / 150)
        known = text(16, seed=step)
        rate.zero_grad()
        result, _ = objective(model, Batch(known[:, :-1], known[:, 1:]), "fp32")
        result.loss.backward()
        rate.step()
    return model


@torch.no_grad()
def test_predicted_agreement_is_measured_agreement(trained) -> None:
    trained.train().trunk.halting.drop = 0.0
    answers = trained(text(200, seed=10_000)).answers
    last, spread = answers[-1].logits.argmax(-1), []
    for answer in answers[:-1]:
        agrees = (answer.logits.argmax(-1) == last).float()
        predicted = torch.sigmoid(answer.confidence)
        place = (10 * predicted).long().clamp(max=9)
        error = 0.0
        for each in range(10):
            inside = place == each
            if inside.any():
                gap = (predicted[inside].mean() - agrees[inside].mean()).abs()
                error += float(gap * inside.float().mean())
        assert error < 0.1
        assert 0.0 < float(agrees.mean()) < 1.0
        spread.append(float(predicted.std()))
    assert max(spread) > 0.05  # it tells rows apart


@torch.no_grad()
def test_asking_for_less_agreement_runs_fewer_layers(trained) -> None:
    trained.eval()
    known, depths = text(50, seed=20_000), []
    for agree in (0.2, 0.8, 1.0):
        trained.trunk.halting.agree = agree
        depths.append(sum(trained(known).rows) / known.numel())
    assert depths[0] < depths[1] < depths[2] <= 4.0


@pytest.mark.parametrize(("key", "value"), [("agree", 0.0), ("weight", -1.0), ("drop", 1.0)])
def test_keys_out_of_range_are_refused(key, value) -> None:
    with pytest.raises(ValueError, match=key):
        Confidence(**{key: value})
