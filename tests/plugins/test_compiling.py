"""Models of first-party components in one graph; and recomputed layers: the same with less memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnetbk.kinds import Batch
from resnetbk.model.assemble import assemble
from resnetbk.model.language_model import LanguageModel
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk.training.compiled_layers import CompiledLayers
from resnetbk.training.objective import objective

WINDOW = 24
MIXERS = {
    "attention": '{ use = "attention", heads = 2 }',
    "bk-causal": '{ use = "bk-causal", chains = 8 }',
    "bk-resolvent": '{ use = "bk-resolvent", chains = 8 }',
    "bk-causal, signed": '{ use = "bk-causal", chains = 8, hopping = "signed" }',
    "bk-resolvent, signed": '{ use = "bk-resolvent", chains = 8, hopping = "signed" }',
    "gated-diagonal": '"gated-diagonal"',
    "bk-moebius": '{ use = "bk-moebius", chains = 4 }',
    "bk-moebius without values": '{ use = "bk-moebius", chains = 4, values = false }',
    "gated-linear": '{ use = "gated-linear", heads = 2, keys = 4 }',
    "hybrid": '[{ use = "bk-causal", chains = 8 }, { use = "attention", heads = 2 }]',
}
EMBEDDINGS = {
    "table": '"table"',
    "ngram-hash": '{ use = "ngram-hash", order = 3, rows = 64 }',
    "learned-positions": f'{{ use = "learned-positions", length = {WINDOW} }}',
}
POLICIES = (
    'resolution = { use = "hourglass", layers = [1, 2, 1] }\ngate = { use = "gumbel", keep = 0.6 }',
    'halting = { use = "act", bias = -0.5 }',
    'halting = "ponder"\nchannel = "moe"',
    'gate = { use = "top-rate", keep = 0.6, scope = "channel" }',
)


def built(more: str, depth: int = 2) -> LanguageModel:
    head = f'name = "t"\ndata = {{ corpus = "python-docs", window = {WINDOW} }}\n[train]\nsteps = 1\n'
    text = f"{head}[model]\nwidth = 8\ndepth = {depth}\n{more}\n"
    model = assemble(read_text(text, Registry.discover()).model, vocabulary=32, seed=1)
    torch.manual_seed(2)
    for parameter in model.parameters():  # projections that start at zero would hide mistakes
        nn.init.normal_(parameter, std=0.3)
    return model


def batch() -> Batch:
    tokens = torch.randint(32, (2, WINDOW + 1), generator=torch.Generator().manual_seed(0))
    return Batch(tokens[:, :-1], tokens[:, 1:])


def gradients(model: LanguageModel, function=objective) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    result, _ = function(model, batch(), "fp32")
    result.loss.backward()
    taken = {name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return {"loss": result.loss.detach(), **taken}


@pytest.mark.parametrize(
    ("mixer", "embedding"),
    [
        *((mixer, "table") for mixer in MIXERS),
        *(("attention", each) for each in EMBEDDINGS if each != "table"),
    ],
)
def test_a_dense_model_and_its_loss_are_one_graph(mixer, embedding):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    model = built(f"mixer = {MIXERS[mixer]}\nembedding = {EMBEDDINGS[embedding]}")
    compiled = torch.compile(objective, backend=backend, fullgraph=True, dynamic=False)
    expected = gradients(model)
    torch.testing.assert_close(gradients(model, compiled), expected)
    assert len(graphs) == 1
    assert any("cross_entropy" in str(node.target) for node in graphs[0].graph.nodes)


def test_the_gradients_of_gated_linear_are_compiled_as_well():
    torch._dynamo.reset()
    mixer = built(f"mixer = {MIXERS['gated-linear']}", depth=1).trunk.layers[0].mixer
    x = torch.randn(2, WINDOW, 8, requires_grad=True)

    def mixed(x: torch.Tensor) -> torch.Tensor:
        return mixer(x, torch.arange(WINDOW).repeat(2, 1), None).square().sum()

    (expected,) = torch.autograd.grad(mixed(x), x)
    compiled = torch.compile(mixed, backend="aot_eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(torch.autograd.grad(compiled(x), x), (expected,))


@pytest.mark.parametrize("mixer", ["attention-to-all", "attention-to-cached"])
def test_mixers_that_read_all_rows_stand_among_compiled_layers(monkeypatch, mixer):
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    halting = 'halting = { use = "act", bias = -0.5 }'
    model = built(f'share = "layers"\nmixer = {{ use = "{mixer}", heads = 2 }}\n{halting}', depth=4)
    expected = gradients(model)
    failures = []
    CompiledLayers(model, failures.append)
    torch.testing.assert_close(gradients(model), expected)
    assert not failures


class Dropping(nn.Module):
    """A channel mixer that draws random numbers."""

    def forward(self, x):
        return nn.functional.dropout(x * x, 0.5), {}


@pytest.mark.parametrize("more", ["", *POLICIES], ids=["dense", *(p.split('"')[1] for p in POLICIES)])
@pytest.mark.parametrize("mixer", MIXERS)
def test_recomputed_layers_have_the_same_gradients_to_the_bit(mixer, more):
    def model(recompute: str) -> LanguageModel:
        made = built(f"recompute = {recompute}\nmixer = {MIXERS[mixer]}\n{more}", depth=4)
        made.anneal(0.5)
        if not more:
            made.trunk.layers[1].channel = Dropping()
        return made

    expected, recomputed = gradients(model("false")), gradients(model("true"))
    assert expected.keys() == recomputed.keys()
    assert all(torch.equal(recomputed[name], gradient) for name, gradient in expected.items())


def test_recomputed_layers_keep_their_input_alone():
    def kept(recompute: str, depth: int) -> int:
        sizes = {}

        def pack(x):
            sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        model = built(f"recompute = {recompute}\nmixer = {MIXERS['attention']}", depth)
        weights = {p.data_ptr() for p in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            result, _ = objective(model, batch(), "fp32")
        assert result.loss.requires_grad
        return sum(size for place, size in sizes.items() if place not in weights)

    row = 2 * WINDOW * 8 * 4
    plain, recomputed = (kept(recompute, 6) - kept(recompute, 2) for recompute in ("false", "true"))
    assert plain > 4 * 10 * row
    assert recomputed == 4 * row
