from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from resnetbk_plugins.channel_mixer.moe import MoE

WIDTH = 6


def built(seed: int = 0, **keys: object) -> nn.Module:
    torch.manual_seed(seed)
    mixer = MoE(**keys).build(width=WIDTH, depth=2).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.7)
    return mixer


def rows(count: int) -> Tensor:
    return torch.randn(count, WIDTH, dtype=torch.float64)


def dense(mixer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The formula row by row, every expert on every row; and the number of rows per expert."""
    probability = (x @ mixer.router.weight.T).softmax(-1)
    total, counts = torch.zeros_like(x), torch.zeros(len(mixer.experts))
    outputs = [expert(x)[0] for expert in mixer.experts]
    for row in range(len(x)):
        for e in probability[row].argsort(descending=True)[: mixer.top_k].tolist():
            total[row] = total[row] + probability[row, e] * outputs[e][row]
            counts[e] += 1
    return total, counts


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), experts=st.integers(1, 5), top_k=st.integers(1, 5), count=st.integers(0, 20))
def test_rows_gradients_and_penalty_equal_a_dense_loop(
    seed: int, experts: int, top_k: int, count: int
) -> None:
    top_k = min(top_k, experts)
    mixer = built(seed, experts=experts, top_k=top_k, expansion=1.0, activation="gelu", balance=0.25)
    x, toward = rows(count).requires_grad_(), rows(count)
    actual, penalties = mixer(x)
    expected, counts = dense(mixer, x)
    torch.testing.assert_close(actual, expected)
    probability = (x @ mixer.router.weight.T).softmax(-1)
    imbalance = sum(
        (counts[e] / max(1, count * top_k)) * probability[:, e].sum() / max(1, count) for e in range(experts)
    )
    torch.testing.assert_close(penalties["balance"], 0.25 * experts * imbalance, check_dtype=False)
    weights = (x, *mixer.parameters())
    ours = torch.autograd.grad((actual * toward).sum() + penalties["balance"], weights)
    theirs = torch.autograd.grad(
        (expected * toward).sum() + 0.25 * experts * imbalance, weights, materialize_grads=True
    )
    for ours_one, theirs_one in zip(ours, theirs, strict=True):
        torch.testing.assert_close(ours_one, theirs_one)


@pytest.mark.parametrize("top_k", [1, 2])
def test_only_chosen_experts_compute_and_only_their_rows(top_k: int) -> None:
    mixer = built(experts=5, top_k=top_k)
    computed = [0] * 5
    for index, expert in enumerate(mixer.experts):
        for matmul in (expert.expand, expert.output):
            matmul.register_forward_hook(
                lambda module, args, result, index=index: computed.__setitem__(
                    index, computed[index] + len(args[0])
                )
            )
    x = rows(50)
    mixer(x)
    executed = list(computed)
    _, counts = dense(mixer, x)
    assert executed == (2 * counts).int().tolist()
    assert sum(executed) == 2 * 50 * top_k


def test_an_expert_without_rows_gets_a_gradient_of_zero() -> None:
    mixer = built(experts=3)
    with torch.no_grad():
        mixer.router.weight.copy_(torch.tensor([[9.0], [0.0], [-9.0]]).expand(3, WIDTH))
    mixer(rows(8).abs())[0].sum().backward()
    reached = [bool((expert.output.weight.grad != 0).any()) for expert in mixer.experts]
    assert reached == [True, False, False]
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in mixer.parameters())


def test_the_router_learns_through_the_chosen_probability() -> None:
    mixer = built(balance=0.0)
    mixer(rows(8))[0].sum().backward()
    assert bool((mixer.router.weight.grad != 0).any())


def test_gradients_are_exact() -> None:
    mixer = built(experts=3, top_k=2, activation="silu", expansion=0.5)
    x = rows(4).requires_grad_()
    names = [name for name, _ in mixer.named_parameters()]

    def run(x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        actual, penalties = torch.func.functional_call(mixer, dict(zip(names, weights, strict=True)), (x,))
        return actual, penalties["balance"]

    assert torch.autograd.gradcheck(run, (x, *mixer.parameters()))


def test_each_row_depends_on_itself_alone() -> None:
    mixer = built(top_k=2)
    x = rows(20)
    together, _ = mixer(x)
    order = torch.randperm(20)
    torch.testing.assert_close(mixer(x[order])[0], together[order])
    for i in range(20):
        torch.testing.assert_close(mixer(x[i : i + 1])[0][0], together[i])


def test_even_use_costs_the_balance_weight_and_one_expert_for_all_costs_more() -> None:
    even, one = built(experts=4, balance=0.5), built(experts=4, balance=0.5)
    x = torch.cat((torch.eye(4), torch.zeros(4, 2)), dim=1).double()
    with torch.no_grad():
        even.router.weight.copy_(torch.eye(4, WIDTH) * 50)
        one.router.weight.zero_()[0] = 50.0
    assert even(x)[1]["balance"].item() == pytest.approx(0.5)
    assert one(x)[1]["balance"].item() == pytest.approx(0.5 * 4)


def test_no_rows() -> None:
    mixer = built()
    actual, penalties = mixer(rows(0))
    assert actual.shape == (0, WIDTH)
    assert penalties["balance"].item() == 0
    (actual.sum() + penalties["balance"]).backward()
    assert all(bool((p.grad == 0).all()) for p in mixer.parameters())


def test_two_passes_are_the_same_bit_for_bit() -> None:
    mixer = built(top_k=2).float()
    x = rows(64).float()
    runs = []
    for _ in range(2):
        mixer.zero_grad()
        actual, penalties = mixer(x)
        (actual.square().sum() + penalties["balance"]).backward()
        runs.append([actual, *(p.grad.clone() for p in mixer.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_a_fresh_layer_adds_nothing() -> None:
    mixer = MoE().build(width=WIDTH, depth=2)
    assert torch.equal(mixer(torch.randn(9, WIDTH))[0], torch.zeros(9, WIDTH))


def test_bfloat16_autocast_routes_as_float32_does() -> None:
    mixer = built().float()
    x = rows(200).float()
    exact, _ = mixer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, penalties = mixer(x)
    assert rough.dtype == torch.bfloat16
    assert penalties["balance"].dtype == torch.float32
    torch.testing.assert_close(rough.float(), exact, atol=0.05 * exact.abs().max().item(), rtol=0)
    (rough.float().sum() + penalties["balance"]).backward()
    assert all(bool(p.grad.isfinite().all()) for p in mixer.parameters())


def test_state_dict_round_trip_and_plain_matrices() -> None:
    first, second = built(0), built(1)
    second.load_state_dict(first.state_dict())
    x = rows(7)
    assert torch.equal(first(x)[0], second(x)[0])
    assert {p.ndim for p in first.parameters()} == {2}
    assert sum(name.endswith("output.weight") for name, _ in first.named_parameters()) == 4


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"experts": 2, "top_k": 3}, "top_k must be at most experts = 2, not 3"),
        ({"top_k": 0}, "'top_k' must be >= 1: 0"),
        ({"balance": -1.0}, "'balance' must be >= 0.0: -1.0"),
        (
            {"activation": "silo"},
            "'activation' must be in ('relu2', 'gelu', 'gelu-tanh', 'silu') (got 'silo')",
        ),
    ],
)
def test_mistakes_are_named(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        MoE(**keys)
