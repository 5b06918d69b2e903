"""Properties of both optimizers: the published updates, exact resume, and tables by Adagrad."""

import copy
import math
from typing import Any, get_args

import pytest
import torch
from optimized import STEPS, net, train
from torch import nn

from resnetbk.errors import StorageError
from resnetbk.kinds import Role, Weight
from resnetbk_plugins.optimizer.adamw import AdamW
from resnetbk_plugins.optimizer.muon import Muon

components = pytest.mark.parametrize(
    "component",
    [AdamW(weight_decay=0.1, warmup=3, decay="cosine", final=0.1), Muon(weight_decay=0.1)],
    ids=["adamw", "muon"],
)


@components
def test_a_run_that_is_saved_and_resumed_goes_on_bit_for_bit(component: Any) -> None:
    whole = net()
    expected = train(whole, component.build(weights=whole.weights()), range(STEPS))

    first = net()
    optimizer = component.build(weights=first.weights())
    rates = train(first, optimizer, range(10))
    weights, state = copy.deepcopy(first.state_dict()), copy.deepcopy(optimizer.state_dict())
    train(first, optimizer, range(10, 13))  # the saved state must not follow

    second = net()
    second.load_state_dict(weights)
    resumed = component.build(weights=second.weights())
    resumed.load_state_dict(state)
    rates += train(second, resumed, range(10, STEPS))

    assert rates == expected
    for (name, one), other in zip(whole.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other), name


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert torch.equal(one, other)


@components
def test_a_loaded_state_is_a_copy(component: Any) -> None:
    model = net()
    optimizer = component.build(weights=model.weights())
    train(model, optimizer, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    before = copy.deepcopy(state)
    optimizer.load_state_dict(state)
    train(model, optimizer, range(3, 6))
    assert_same(state, before)


@components
def test_the_loss_falls(component: Any) -> None:
    model = net()
    tokens = torch.randint(13, (4, 9), generator=torch.Generator().manual_seed(0))

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    before = loss().item()
    optimizer = component.build(weights=model.weights())
    for step in range(30):
        loss().backward()
        optimizer.update(step, step / 30)
    assert loss().item() < 0.8 * before


@components
def test_weights_without_gradients_and_their_state_are_left_alone(component: Any) -> None:
    model = net()
    optimizer = component.build(weights=model.weights())
    before = model.idle.weight.detach().clone()
    train(model, optimizer, range(3))
    assert torch.equal(model.idle.weight, before)
    assert not any("idle.weight" in update for update in optimizer.state_dict().values())


@components
def test_sparse_tables_take_the_steps_of_a_dense_adagrad(component: Any) -> None:
    sparse, dense = net(), net(sparse=False)
    dense.hashed.weight.sparse_gradient = True  # type: ignore[attr-defined]
    for model in (sparse, dense):
        optimizer = component.build(weights=model.weights())
        train(model, optimizer, range(STEPS))
        assert set(optimizer.state_dict()["adagrad"]) == {"hashed.weight"}
    torch.testing.assert_close(sparse.hashed.weight, dense.hashed.weight)


@components
def test_a_state_of_other_weights_is_refused(component: Any) -> None:
    model = net()
    optimizer = component.build(weights=model.weights())
    train(model, optimizer, range(2))
    other = component.build(weights=model.weights()[2:])
    with pytest.raises(StorageError, match=r"no weight '(table|hashed)\.weight'"):
        other.load_state_dict(optimizer.state_dict())
    state = copy.deepcopy(optimizer.state_dict())
    state["adamw"]["table.weight"]["mean"] = torch.zeros(3, 3)
    with pytest.raises(StorageError, match=r"'table\.weight' has shape \(13, 8\), its state \(3, 3\)"):
        optimizer.load_state_dict(state)
    with pytest.raises(StorageError, match=r"is of \['sgd'\]"):
        optimizer.load_state_dict({"sgd": {}})


def test_adamw_is_torchs_with_nanogpts_choice_of_what_decays() -> None:
    ours, theirs = net(sparse=False), net(sparse=False)
    optimizer = AdamW(lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1, decay="constant").build(
        weights=ours.weights()
    )
    reference = torch.optim.AdamW(
        [
            {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=1e-2,
        betas=(0.9, 0.99),
        fused=True,
    )
    train(ours, optimizer, range(STEPS))
    for step in range(STEPS):
        tokens = torch.randint(13, (4, 9), generator=torch.Generator().manual_seed(step))
        nn.functional.cross_entropy(theirs(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        reference.step()
        reference.zero_grad()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_decay_is_for_matrices_and_tables_whatever_the_shape() -> None:
    roles: dict[Role, float] = {
        "matrix": 0.95,
        "table": 0.95,
        "vector": 1.0,
        "convolution": 1.0,
        "scalar": 1.0,
    }
    weights = [Weight(role, nn.Parameter(torch.ones(3, 3)), role) for role in roles]
    for component in (AdamW(weight_decay=0.5, lr=0.1), Muon(weight_decay=0.5, lr=0.1, adam_lr=0.1)):
        optimizer = component.build(weights=weights)
        for weight in weights:
            weight.parameter.data.fill_(1.0)
            weight.parameter.grad = torch.zeros_like(weight.parameter)
        optimizer.update(0, 0.0)
        means = [weight.parameter.mean().item() for weight in weights]
        assert means == pytest.approx([*roles.values()])


def test_muon_makes_updates_of_matrices_orthogonal_and_of_no_other_role() -> None:
    weights = [Weight(role, nn.Parameter(torch.zeros(4, 4)), role) for role in get_args(Role)]
    optimizer = Muon().build(weights=weights)
    for weight in weights:
        weight.parameter.grad = torch.randn(4, 4)
    optimizer.update(0, 0.0)
    state = optimizer.state_dict()
    assert set(state["muon"]) == {"matrix"}
    assert set(state["adamw"]) == set(get_args(Role)) - {"matrix"}


def test_the_rate_reported_is_the_schedules() -> None:
    model = net()
    rates = train(model, Muon(lr=0.03, warmup=2).build(weights=model.weights()), range(STEPS))
    assert rates[:3] == pytest.approx([0.01, 0.02, 0.03])
    assert rates[6] == pytest.approx(0.03)
    assert rates[-1] == pytest.approx(0.03 / 14)


@components
@pytest.mark.parametrize("sparse", [False, True])
def test_where_found_inf_is_set_an_update_changes_nothing(component, sparse: bool) -> None:
    """To the bit, with gradients of NaN; and where it is zero it changes nothing of the update."""
    plain, guarded = net(sparse), net(sparse)
    plain_optimizer, optimizer = (component.build(weights=model.weights()) for model in (plain, guarded))
    optimizer.found_inf = torch.zeros(())
    train(plain, plain_optimizer, range(4))
    train(guarded, optimizer, range(4))
    before = copy.deepcopy([guarded.state_dict(), optimizer.state_dict()])
    optimizer.found_inf.fill_(1.0)
    for bad in (math.nan, math.inf, 1.0):
        for parameter in guarded.parameters():
            parameter.register_hook(lambda gradient, bad=bad: gradient * bad)
        train(guarded, optimizer, range(4, 5))
    after = [guarded.state_dict(), optimizer.state_dict()]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    torch.testing.assert_close(
        after, [plain.state_dict(), plain_optimizer.state_dict()], rtol=0, atol=0, equal_nan=False
    )
