from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk_plugins.channel_mixer.memory import Memory

WIDTH = 12


def built(seed: int = 0, **keys: int) -> nn.Module:
    torch.manual_seed(seed)
    memory = Memory(**keys).build(width=WIDTH, depth=2).double()
    nn.init.normal_(memory.values.weight)
    return memory


def dense(memory: nn.Module, x: Tensor) -> Tensor:
    """The formula, with the score of every slot."""
    heads, _, _, half = memory.keys.shape
    query = F.rms_norm((x @ memory.query.weight.T).view(-1, heads, 2, half), (half,))
    first, second = torch.einsum("rhcd,hckd->crhk", query, memory.keys)
    scores = (first[..., :, None] + second[..., None, :]).flatten(2)  # (R, heads, keys^2)
    best = scores.topk(memory.top_k, dim=-1)
    shares = torch.zeros_like(scores).scatter(-1, best.indices, best.values.softmax(-1))
    return shares.sum(1) @ memory.values.weight


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), keys=st.integers(1, 7), heads=st.integers(1, 3), top_k=st.integers(1, 7),
       count=st.integers(0, 9))  # fmt: skip
def test_rows_and_gradients_are_those_of_all_slots(
    seed: int, keys: int, heads: int, top_k: int, count: int
) -> None:
    memory = built(seed, keys=keys, heads=heads, top_k=min(top_k, keys))
    x = torch.randn(count, WIDTH, dtype=torch.float64, requires_grad=True)
    actual, penalties = memory(x)
    torch.testing.assert_close(actual, dense(memory, x))
    assert not penalties
    toward = torch.randn_like(actual)
    weights = (x, *memory.parameters())
    ours = torch.autograd.grad((actual * toward).sum(), weights)
    theirs = torch.autograd.grad((dense(memory, x) * toward).sum(), weights)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.to_dense() if our.is_sparse else our, their)


def test_only_values_that_are_read_have_a_gradient() -> None:
    memory = built(keys=30, heads=2, top_k=3)
    memory(torch.randn(4, WIDTH).double())[0].sum().backward()
    grad = memory.values.weight.grad
    assert grad.is_sparse
    assert 0 < grad.coalesce().values().shape[0] <= 4 * 2 * 3


def test_a_row_depends_on_itself_alone() -> None:
    memory, x = built(), torch.randn(6, WIDTH).double()
    torch.testing.assert_close(memory(x)[0][2:3], memory(x[2:3])[0])


def test_fresh_memory_adds_nothing() -> None:
    assert not Memory().build(width=WIDTH, depth=2)(torch.randn(3, WIDTH))[0].any()


def test_half_precision_reads_the_same_slots() -> None:
    memory, x = built(keys=50).float(), torch.randn(40, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = memory(x)[0]
    torch.testing.assert_close(half, memory(x)[0])


def test_it_remembers_more_pairs_than_a_linear_map_could() -> None:
    memory = Memory(keys=16, heads=2, top_k=2).build(width=WIDTH, depth=1)
    x, signs = torch.randn(100, WIDTH), torch.randint(2, (100, WIDTH)) * 2.0 - 1
    for _ in range(60):
        memory.zero_grad()
        F.mse_loss(memory(x)[0], signs).backward()
        with torch.no_grad():
            memory.values.weight -= 150 * memory.values.weight.grad.to_dense()
    assert (memory(x)[0].sign() == signs).double().mean() > 0.95


def test_more_slots_than_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="top_k must be at most keys = 3, not 4"):
        Memory(keys=3, top_k=4)
