"""Counted FLOPs of every component against closed forms: products and scans exactly, all within 2 %.

B sequences of N rows, R = B N; width D. A backward pass costs twice the products of the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor

from resnetbk.kinds import Weight
from resnetbk.metering.flops import FlopCounter
from resnetbk.registry.lookup import Registry

B, N, D, V = 2, 96, 64, 50
R = B * N
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


@attrs.frozen
class Expected:
    """forward, of which `products` are matrix products; `own` and its backward, of one other operator.

    Backward there are `backward_products` times as many matrix products, half where the input is no row.
    """

    forward: float
    products: int = 0
    operator: str = ""
    own: int = 0
    own_backward: int = 0
    backward_products: int = 2


def convolution(size: int = 4) -> int:
    return 2 * size * R * D


def bk_causal(chains: int = 128) -> Expected:
    products, scan = 6 * R * D * chains, 8 * R * chains
    whole = products + scan + R * chains + convolution()
    return Expected(whole, products, "resnetbk::one_sided", scan, 14 * R * chains)


def bk_resolvent(chains: int = 128) -> Expected:
    products, scan = 12 * R * D * chains, 15 * R * chains
    # the site; norm, silu and its product on twice as many features
    whole = products + scan + R * chains + 2 * R * chains * (4 + 2) + convolution()
    return Expected(whole, products, "resnetbk::resolvent", scan, 30 * R * chains)


def bk_moebius(chains: int = 32) -> Expected:
    products, scan = 2 * R * D * chains * (4 * 4 + 1), 36 * R * chains
    # the turn, its norm and quotient; the gate and its complement, and their product; norm, silu and product
    whole = products + scan + R * chains * (4 + 12 + 7 + 4 * (4 + 2)) + convolution()
    return Expected(whole, products, "resnetbk::transfer", scan, 75 * R * chains)


def bk_diagonal(chains: int = 128) -> Expected:
    products, scan = 6 * R * D * chains, 24 * R * chains
    return Expected(products + scan + R * chains, products, "resnetbk::two_sided", scan, 40 * R * chains)


def gated_linear(heads: int = 4, keys: int = 32, chunk: int = 64) -> Expected:
    rows = B * -(-N // chunk) * chunk  # padded to whole chunks
    chunks = rows // chunk
    projections = 2 * R * D * (2 * heads * keys + 3 * D + heads)
    within = 2 * rows * chunk * (heads * keys + D)
    states = 2 * 2 * rows * keys * D
    decay = rows * chunk * heads * (1 + 1 + 1 + 1)  # difference, mask, exponential, product
    features = R * D * (4 + 1 + 1) + rows * D  # norm, silu, product, sum
    rescaled = rows * heads * keys * (1 + 1) + R * heads * keys * 2
    carried = 2 * chunks * keys * D
    whole = projections + within + states + decay + features + rescaled + carried + convolution()
    return Expected(whole, projections + within + states)


def gated_diagonal() -> Expected:
    products, scan = 8 * R * D * D, 2 * R * D
    # bias, two sigmoids, their sign, product; norm, silu, product
    return Expected(products + scan + 5 * R * D + (4 + 1 + 1) * R * D + convolution(), products,
                    "resnetbk::diagonal", scan, 3 * R * D)  # fmt: skip


def attention(heads: int = 4) -> Expected:
    projections, scores = 8 * R * D * D, B * heads * N * N  # up to 512 keys the whole square is computed
    own, own_backward = scores * (4 * D // heads + 5) + R * D, scores * (10 * D // heads + 4) + 2 * R * D
    angles = R * D // heads // 2 * 3
    operator = "aten::_scaled_dot_product_flash_attention_for_cpu"
    return Expected(projections + own + 6 * R * D + angles, projections, operator, own, own_backward)


MIXERS: dict[str, Expected] = {
    "bk-causal": bk_causal(),
    "bk-resolvent": bk_resolvent(),
    "bk-moebius": bk_moebius(),
    "bk-diagonal": bk_diagonal(),
    "gated-linear": gated_linear(),
    "gated-diagonal": gated_diagonal(),
    "attention": attention(),
    "attention-to-all": attention(),  # where all rows are computed
    "attention-to-cached": attention(),
}

MLP = 4 * R * D * 4 * D
GATED_UNITS = 8 * round(2 / 3 * 4 * D / 8)
GATED = 6 * R * D * GATED_UNITS


def memory(heads: int = 4, keys: int = 128, top_k: int = 4) -> Expected:
    products = 2 * R * D * D + 2 * R * D * keys  # queries; each number of them times the keys of its half
    norm, best = 4 * R * D, R * heads * 2 * keys
    pairs = R * heads * (3 * top_k**2 + 6 * top_k)  # scores, indices, the best of them and their softmax
    read = 2 * R * heads * top_k * D
    return Expected(products + norm + best + pairs + read, products, "aten::_embedding_bag", read, read)


CHANNELS: dict[str, Expected] = {
    "mlp": Expected(MLP + 2 * R * 4 * D, MLP),
    "swiglu": Expected(GATED + 2 * R * GATED_UNITS, GATED),
    # router over 4 experts and its softmax; each row once through an expert, times its gate
    "moe": Expected(MLP + 2 * R * 4 * D + 2 * R * D * 4 + 5 * R * 4 + 2 * R * D, MLP + 2 * R * D * 4),
    "memory": memory(),
}

# per n-gram: roll 2, two rounds of 3, scale 4, place 1; per token its digit
HASHES = 3 * R * 13 + R
# a linear map of V log-probabilities and 7 weights; 7 orders scale the probabilities, and three more FLOPs
# each make them logarithms; to look up and index 2 R tokens is 10 % of the map
EXPECTED = 2 * R * (V + 7) * D
EMBEDDINGS: dict[str, Expected] = {
    "table": Expected(0),
    "learned-positions": Expected(R * D + R),
    "ngram-hash": Expected(3 * R * D + R * D + HASHES),
    "ngram-counts": Expected(1.1 * EXPECTED + 10 * R * V, EXPECTED, backward_products=1),
}


def component(kind: str, name: str):
    registry = Registry.discover()
    return registry.load(registry.find(kind, name))()


def products(counter: FlopCounter) -> int:
    return sum(counter.operators[name] for name in PRODUCTS)


OF_LIBRARIES = {"torch", "schedule-free"}
"""Optimizers that do what a library does, for as many FLOPs."""


def test_every_component_that_computes_has_a_closed_form() -> None:
    registry = Registry.discover()
    for kind, known in (
        ("sequence-mixer", MIXERS),
        ("channel-mixer", CHANNELS),
        ("embedding", EMBEDDINGS),
        ("optimizer", OPTIMIZERS),
    ):
        names = {entry.name for entry in registry.entries(kind) if entry.plugin == "resnetbk"}
        assert names - OF_LIBRARIES == set(known)


def check(run: Callable[[], Tensor], expected: Expected) -> None:
    run()  # chooses and compiles kernels
    with FlopCounter() as forward:
        y = run()
    assert not forward.unknown
    assert products(forward) == expected.products
    assert forward.operators[expected.operator] == expected.own
    assert forward.flops == pytest.approx(expected.forward, rel=0.02)
    with FlopCounter() as backward:
        y.backward(torch.ones_like(y))
    assert not backward.unknown
    assert products(backward) == expected.backward_products * expected.products
    suffixes = ("_adjoint", "_backward", "_per_sample_weights_backward")
    assert sum(backward.operators[expected.operator + s] for s in suffixes) == expected.own_backward


@pytest.mark.parametrize("name", MIXERS)
def test_a_sequence_mixer_costs_its_closed_form(name: str) -> None:
    mixer = component("sequence-mixer", name).build(width=D, depth=2)
    x = torch.randn(B, N, D, requires_grad=True)
    position = torch.arange(N).repeat(B, 1)
    check(lambda: mixer(x, position, None), MIXERS[name])


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_mixer_costs_its_closed_form(name: str) -> None:
    channel = component("channel-mixer", name).build(width=D, depth=2)
    x = torch.randn(R, D, requires_grad=True)
    check(lambda: channel(x)[0], CHANNELS[name])


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_embedding_costs_its_closed_form(name: str) -> None:
    embedding = component("embedding", name).build(vocabulary=V, width=D)
    tokens = torch.randint(V, (B, N))
    position = torch.arange(N).repeat(B, 1)
    if name == "ngram-counts":
        embedding.learn_tokens(tokens)

    def run() -> Tensor:
        getattr(embedding, "_indices", {}).clear()  # steps before have read more, which is indexed
        return embedding(tokens, position)

    check(run, EMBEDDINGS[name])


ROWS, COLUMNS = 32, 48


def newton_schulz(matrices: int) -> int:
    """Five rounds of x x^T, its square, and their product with x."""
    return matrices * 5 * (4 * ROWS**2 * COLUMNS + 2 * ROWS**3)


MATRIX, VECTOR = ROWS * COLUMNS, 100
OPTIMIZERS: dict[str, Callable[[int], tuple[float, int]]] = {
    "adamw": lambda matrices: (14 * (matrices * MATRIX + VECTOR), 0),
    # two means, norm, quotient, and the update; adamw updates weights that are not matrices
    "muon": lambda matrices: (
        newton_schulz(matrices) + matrices * MATRIX * 5 + 14 * VECTOR,
        newton_schulz(matrices),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("matrices", [1, 3])
def test_an_optimizer_costs_its_closed_form(name: str, matrices: int) -> None:
    weights = [
        Weight(f"m{i}", torch.nn.Parameter(torch.randn(ROWS, COLUMNS)), "matrix") for i in range(matrices)
    ]
    weights.append(Weight("v", torch.nn.Parameter(torch.randn(VECTOR)), "vector"))
    optimizer = component("optimizer", name).build(weights=weights)

    def update(step: int) -> FlopCounter:
        for weight in weights:
            weight.parameter.grad = torch.ones_like(weight.parameter)
        with FlopCounter() as counter:
            optimizer.update(step, 0.0)
        return counter

    update(0)
    counter = update(1)
    flops, in_products = OPTIMIZERS[name](matrices)
    assert not counter.unknown
    assert products(counter) == in_products
    assert counter.flops == pytest.approx(flops, rel=0.02)


def test_a_sparse_table_is_updated_at_the_cost_of_its_rows() -> None:
    table = torch.nn.Parameter(torch.zeros(10_000, D))
    optimizer = component("optimizer", "adamw").build(weights=[Weight("t", table, "embedding")])

    def update(rows: int) -> int:
        index = torch.arange(rows)
        table.grad = torch.sparse_coo_tensor(
            index[None], torch.ones(rows, D), (10_000, D), check_invariants=False
        )
        with FlopCounter() as counter:
            optimizer.update(0, 0.0)
        assert not counter.unknown
        return counter.flops

    update(1)
    # gradients of the same row are summed first; then Adagrad
    assert update(50) == pytest.approx(50 * D * (1 + 7), abs=10)
    assert update(100) == pytest.approx(100 * D * (1 + 7), abs=10)
