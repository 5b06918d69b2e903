"""The counter: operators against closed forms, nothing changed by counting, nothing unknown unnoticed."""

from __future__ import annotations

import itertools
import math
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.adamw import adamw
from torch.utils.flop_counter import flop_registry, register_flop_formula

from resnetbk.errors import UserError
from resnetbk.metering.flops import FlopCounter

B, N, D, H = 2, 6, 8, 10


def count(work) -> int:
    with FlopCounter() as counter:
        work()
    assert not counter.unknown
    return counter.flops


def normal(*shape: int, grad: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).requires_grad_(grad)


X, Y, W = normal(B, N, D), normal(B, N, D), normal(H, D)
ELEMENTS = X.numel()
TABLE = normal(50, D)
PICKED = torch.arange(12).view(B, N)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: X[0] @ W.T, 2 * N * D * H),
        (lambda: F.linear(X, W), 2 * B * N * D * H),
        (lambda: F.linear(X, W, normal(H)), 2 * B * N * D * H),
        (lambda: X @ Y.mT, 2 * B * N * D * N),
        (lambda: torch.baddbmm(normal(B, N, N), X, Y.mT, beta=0.5), 2 * B * N * D * N),
        (lambda: W @ X[0, 0], 2 * H * D),
        (lambda: X[0, 0] @ Y[0, 0], 2 * D),
        (lambda: X + Y, ELEMENTS),
        (lambda: X[:, :1] + Y, ELEMENTS),  # what comes out, not what goes in
        (lambda: X.exp(), ELEMENTS),
        (lambda: X.clone().mul_(2.0), ELEMENTS),
        (lambda: torch.where(X > 0, X, Y), 2 * ELEMENTS),
        (lambda: X.sum(-1), ELEMENTS),
        (lambda: X.mean(), ELEMENTS),
        (lambda: X.amax(1), ELEMENTS),
        (lambda: X.argmax(), ELEMENTS),
        (lambda: X.norm(), ELEMENTS),
        (lambda: X.cumsum(1), ELEMENTS),
        (lambda: X.softmax(-1), 5 * ELEMENTS),
        (lambda: F.layer_norm(X, (D,)), 7 * ELEMENTS),
        (lambda: torch.native_dropout(X, 0.5, True), 2 * ELEMENTS),
        (lambda: X.view(-1, D)[3:5].T.contiguous(), 0),
        (lambda: torch.cat([X, Y]).clone().flatten(), 0),
        (lambda: torch.zeros(5, 5).fill_(1.0).copy_(torch.ones(5, 5)), 0),
        (lambda: X.bfloat16().float(), 0),
        (lambda: X.new_zeros(3).to(torch.float64), 0),
        (lambda: F.pad(X, (0, 0, 2, 0)), 0),
        (lambda: X.flatten(0, 1).index_select(0, torch.arange(3)), 0),
        (lambda: X.sum().item(), ELEMENTS),
        (lambda: F.embedding(PICKED, TABLE), 0),
        (lambda: F.embedding_bag(PICKED, TABLE, mode="sum"), 12 * D),
        (lambda: F.embedding_bag(PICKED, TABLE, mode="sum", per_sample_weights=X[..., 0]), 2 * 12 * D),
        (lambda: torch.zeros(50, D).index_add(0, PICKED.flatten(), X.flatten(0, 1)), ELEMENTS),
        (lambda: torch.zeros(50, D).index_put_((PICKED,), X, accumulate=True), ELEMENTS),
        (lambda: torch.zeros(50, D).index_put_((PICKED,), X), 0),
        (lambda: torch._foreach_mul_([X.clone(), W.clone()], 2.0), ELEMENTS + W.numel()),
        (lambda: torch._foreach_norm([X, W]), ELEMENTS + W.numel()),
        (lambda: torch._foreach_addcdiv([X, W], [X, W], [X, W]), ELEMENTS + W.numel()),
        (lambda: torch._foreach_copy_([X.clone()], [Y]), 0),
        (lambda: torch.arange(5) & 3, 5),
        (lambda: F.conv1d(X.mT, normal(H, D, 3), padding=2), 2 * B * (N + 2) * D * H * 3),
        (lambda: F.conv1d(X.mT, normal(D, 1, 3), padding=2, groups=D), 2 * B * (N + 2) * D * 3),
        (lambda: torch.fft.fft(torch.zeros(4, 16, dtype=torch.complex64)), 5 * 64 * 4),
        (lambda: torch.randn(50).sort(), 50),
        (lambda: torch.arange(6).view(1, 6) // torch.ones(4, 1), 24),  # what comes out
        (lambda: torch.searchsorted(torch.arange(9), PICKED), 12),
        (lambda: F.logsigmoid(X), ELEMENTS),
        (lambda: F.binary_cross_entropy_with_logits(X, Y, reduction="none"), ELEMENTS),
        (lambda: F.mse_loss(X, Y), ELEMENTS),
        (lambda: torch.zeros(50, D).scatter_reduce(0, PICKED.view(-1, 1), X.flatten(0, 1), "amax"), ELEMENTS),
    ],
)
def test_an_operator_costs_its_closed_form(work, expected):
    assert count(work) == expected
    with torch.inference_mode():
        assert count(work) == expected


def test_the_backward_of_a_product_costs_two_products():
    x, w = normal(N, D, grad=True), normal(H, D, grad=True)
    y = F.linear(x, w)
    assert count(lambda: y.backward(torch.ones_like(y))) == 2 * 2 * N * D * H


@pytest.mark.parametrize("loss", [F.mse_loss, F.smooth_l1_loss, F.huber_loss])
def test_the_backward_of_a_loss_costs_its_elements(loss):
    y = loss(normal(B, N, D, grad=True), Y)
    assert count(y.backward) == ELEMENTS


@pytest.mark.parametrize("groups", [1, D])
def test_the_backward_of_a_convolution_costs_two_convolutions(groups):
    x, w = normal(B, D, N, grad=True), normal(D, D // groups, 3, grad=True)
    y = F.conv1d(x, w, padding=2, groups=groups)
    once = 2 * y.numel() * w[0].numel()
    assert count(lambda: y.backward(torch.ones_like(y))) == 2 * once


def test_a_sparse_gradient_costs_what_its_rows_cost():
    table = nn.EmbeddingBag(1000, D, mode="sum", sparse=True)
    indices = torch.tensor([[1, 2], [2, 3], [2, 7]])
    rows = table(indices)
    assert count(lambda: rows.backward(torch.ones_like(rows))) == 0
    gradient = table.weight.grad
    assert count(lambda: gradient.coalesce()) == 6 * D
    assert count(lambda: gradient.coalesce() * 2.0) == 6 * D + 4 * D


def test_fused_and_listed_updates_count_every_tensor():
    sizes = (3, 5, 7)
    parameters, gradients, means, squares = ([torch.ones(n) for n in sizes] for _ in range(4))
    steps = [torch.zeros(()) for _ in sizes]
    flops = count(
        lambda: adamw(
            parameters, gradients, means, squares, [], steps, fused=True, amsgrad=False, beta1=0.9,
            beta2=0.9, lr=0.1, weight_decay=0.1, eps=1e-8, maximize=False,
        )
    )  # fmt: skip
    assert flops == 14 * sum(sizes) + len(sizes)  # and each one's count of steps


def executed(queries: int, keys: int) -> int:
    """Scores of a causal attention on a CPU, one by one: blocks of queries, blocks of 512 keys."""
    block = 256 if queries >= 768 else 64 if queries >= 192 else 32
    done = 0
    for query in range(queries):
        end = min(query // block * block + block, queries)
        done += min(math.ceil(min(end, keys) / 512) * 512, keys)
    return done


@pytest.mark.parametrize("length", [7, 300, 1300])
@pytest.mark.parametrize("causal", [True, False])
def test_attention_on_a_cpu_costs_the_blocks_that_its_kernel_computes(length, causal):
    heads, size = 2, 4
    q, k, v = (normal(1, heads, length, size, grad=True) for _ in range(3))
    scores = heads * (executed(length, length) if causal else length * length)
    with FlopCounter() as forward:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert forward.flops == scores * (4 * size + 5) + y.numel()
    with FlopCounter() as backward:
        y.backward(torch.ones_like(y))
    assert backward.flops == scores * (10 * size + 4) + 2 * y.numel()
    assert causal is False or length < 512 or scores < 0.8 * heads * length**2


@pytest.mark.parametrize(
    "work",
    [
        lambda x, w: F.linear(x, w, w[:, 0]),
        lambda x, w: F.rms_norm(x, (D,), x[0, 0]),
        lambda x, w: F.layer_norm(x, (D,), x[0, 0]),
        lambda x, w: F.silu(x).square() @ w.T,
        lambda x, w: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], is_causal=True),
        lambda x, w: F.cross_entropy(x.flatten(0, 1), torch.arange(B * N) % D, reduction="none"),
        lambda x, w: F.gelu(x).softmax(-1).cumsum(1),
    ],
)
@pytest.mark.parametrize("mode", ["train", "inference", "bf16"])
def test_counting_changes_no_bit(work, mode):
    def results() -> list[torch.Tensor]:
        x, w = normal(B, N, D, grad=True), normal(H, D, grad=True)
        if mode == "inference":
            with torch.inference_mode():
                return [work(x, w)]
        with torch.autocast("cpu", torch.bfloat16, enabled=mode == "bf16"):
            y = work(x, w)
        y.float().square().sum().backward()
        return [y, x.grad, *([] if w.grad is None else [w.grad])]

    plain = results()
    with FlopCounter() as counter:
        counted = results()
    assert not counter.unknown
    assert counter.flops > 0
    assert all(torch.equal(a, b) for a, b in zip(plain, counted, strict=True))


# ---------------------------------------------------------------- unknown operators


@torch.library.custom_op("resnetbktest::heavy", mutates_args=())
def heavy(x: torch.Tensor) -> torch.Tensor:
    for _ in range(200):
        x = x @ x
        x = x / x.norm()
    return x


def test_an_unknown_operator_that_matters_is_refused_by_name():
    counter = FlopCounter()
    x = torch.eye(64)
    heavy(x)
    with counter:
        heavy(x)
    assert set(counter.unknown) == {"resnetbktest::heavy"}
    with pytest.raises(UserError, match=r"resnetbktest::heavy \(\d+%") as caught:
        counter.check()
    assert "register_flop_formula(torch.ops.resnetbktest.heavy)" in str(caught.value)
    assert "\n" not in str(caught.value)

    register_flop_formula(torch.ops.resnetbktest.heavy)(lambda shape, **_: 200 * 2 * shape[0] ** 3)
    try:
        assert count(lambda: heavy(x)) == 200 * 2 * 64**3
    finally:
        flop_registry.pop(torch.ops.resnetbktest.heavy)


@torch.library.custom_op("resnetbktest::preempted", mutates_args=())
def preempted(x: torch.Tensor) -> torch.Tensor:
    return x.cos().cumsum(0)


def test_time_that_other_processes_took_is_not_the_operator_s(monkeypatch):
    """As if whoever reads the clock had then waited for an hour."""
    monkeypatch.setattr(time, "perf_counter", itertools.count(step=3600).__next__)
    with FlopCounter() as counter:
        preempted(torch.ones(1000))
    assert 0 < counter.unknown["resnetbktest::preempted"] <= counter.seconds < 3600


def test_unknown_operators_may_take_one_percent():
    counter = FlopCounter()
    counter.seconds, counter.unknown["acme::op"] = 1.0, 0.0099
    counter.check()
    counter.unknown["acme::other"] = 0.0002
    with pytest.raises(UserError, match=r"acme::op .*acme::other"):
        counter.check()


def test_an_error_inside_leaves_torch_as_it_was():
    counter = FlopCounter()

    def fail() -> None:
        with counter:
            X + Y
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert counter.flops == ELEMENTS
    X + Y
    assert counter.flops == ELEMENTS
