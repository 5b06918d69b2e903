"""Models whose layers differ: built as the pattern says, stepped, resumed, grown, measured and compared."""

from __future__ import annotations

import json
from itertools import pairwise

import attrs
import pytest
import tiny
import torch
from click.testing import CliRunner

from resnetbk.cli import cli
from resnetbk.errors import UserError
from resnetbk.model.assemble import assemble
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk.spec.spec import Part
from resnetbk.training.learner import Learner
from resnetbk.training.memory import count
from resnetbk.training.sampling import Sampling, generate, streams
from resnetbk_instrument.profile.cost import cost
from resnetbk_instrument.results.factors import design_ablation

CHAINS, HEADS = '{ use = "bk-causal", chains = 8, layers = 3 }', '{ use = "attention", heads = 2 }'
HYBRID = {"mixer": f"mixer = [{CHAINS}, {HEADS}]", "depth": "depth = 4"}


def hybrid(folder, depth: int = 4, **changes: str):
    return tiny.experiment(folder, **HYBRID | changes | {"depth": f"depth = {depth}"})


def layers(model) -> str:
    """The first letters of the mixers, layer by layer."""
    return "".join("A" if hasattr(layer.mixer, "query") else "C" for layer in model.trunk.layers)


def stirred(model):
    torch.manual_seed(1)
    for parameter in model.parameters():  # projections that start at zero would hide mistakes
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def test_layers_are_what_the_pattern_says(tmp_path):
    mixed = 'channel = ["mlp", { use = "swiglu", layers = 2 }]'
    spec = hybrid(tmp_path, 6, channel=mixed).spec
    model = assemble(spec.model, vocabulary=256, seed=0)
    assert layers(model) == "CCCACC"
    gated = [hasattr(layer.channel, "gate") for layer in model.trunk.layers]
    assert gated == [False, True, True] * 2
    norms = sum(p.numel() for name, p in model.named_parameters() if "norm" in name)
    assert count(spec.model, 256) == model.parameter_count() - norms


def test_a_build_that_takes_layer_is_told_its_index(tmp_path):
    @attrs.frozen
    class Told:
        inner: object

        def build(self, *, width: int, depth: int, layer: int) -> torch.nn.Module:
            built.append((layer, depth))
            return self.inner.build(width=width, depth=depth)

    built: list[tuple[int, int]] = []
    model = hybrid(tmp_path, 5).spec.model
    chains, attention = model.mixer
    told = Part(attention.entry, Told(attention.component), 1)
    channel = Part(model.channel.entry, Told(model.channel.component))
    assemble(attrs.evolve(model, mixer=(chains, told), channel=channel), vocabulary=256, seed=0)
    assert built == [(0, 5), (1, 5), (2, 5), (3, 5), (3, 5), (4, 5)]


def test_a_mixer_that_cannot_be_built_is_named_by_its_place(tmp_path):
    text = tiny.write_spec(
        tmp_path, depth="depth = 4", mixer=f"mixer = [{CHAINS},\n{HEADS.replace('2', '3')}]"
    )
    with pytest.raises(UserError, match=r"tiny\.toml:\d+: model\.mixer\[1\]: .*heads"):
        read(text, Registry.discover())


def test_growing_and_constant_state_stream_together(tmp_path):
    model = stirred(assemble(hybrid(tmp_path, 5).spec.model, vocabulary=256, seed=0)).double()
    assert streams(model)
    tokens = torch.randint(256, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, state, sizes = model(tokens).logits, model.initial_state(2), []
        for i, column in enumerate(tokens.unbind(1)):
            logits, state = model.step(column, state)
            torch.testing.assert_close(logits, expected[:, i], rtol=1e-9, atol=1e-9)
            states = state["trunk"]["layers"]
            sizes.append([sum(tensor.numel() for tensor in each.values()) for each in states])
    growth = [[after - before for before, after in zip(*pair, strict=True)] for pair in pairwise(sizes)]
    assert all([size > 0 for size in grown] == [False, False, False, True, False] for grown in growth[-3:])
    model.float()
    new = [token for [token] in generate(model, [1, 2, 3], 6, Sampling(temperature=0.0), window=4)]
    with torch.inference_mode():
        logits = model(torch.tensor([[1, 2, 3, *new]])).logits[0]
    assert new == logits[2:-1].argmax(-1).tolist()


def test_what_one_entry_does_not_provide_the_model_does_not(tmp_path):
    model = hybrid(tmp_path).spec.model
    chains, attention = model.mixer
    deaf = attrs.evolve(attention.entry, provides=attention.entry.provides - {"any-length"})
    mixed = attrs.evolve(model, mixer=(chains, attrs.evolve(attention, entry=deaf)))
    assert "any-length" in assemble(model, vocabulary=256, seed=0).provides
    assert not streams(assemble(mixed, vocabulary=256, seed=0))


def test_a_run_that_is_resumed_ends_the_same(tmp_path):
    whole = hybrid(tmp_path, more="save = 1\nkeep = 100").train(tmp_path / "whole")
    stopped = tiny.stopped(tmp_path / "whole", 5, tmp_path / "stopped")
    resumed = hybrid(tmp_path, more="save = 1\nkeep = 100").train(stopped, resume=True)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_cost_tells_the_entries_of_a_pattern_apart(tmp_path):
    alone = {
        name: cost(tiny.experiment(tmp_path, depth="depth = 1", mixer=f"mixer = {mixer}").spec, steps=1)
        for name, mixer in {"chains": CHAINS.replace(", layers = 3", ""), "heads": HEADS}.items()
    }
    mixed = cost(hybrid(tmp_path, 8).spec, steps=1)
    for i, (name, times) in enumerate({"chains": 6, "heads": 2}.items()):
        assert mixed.parameters[f"mixer[{i}]"] == times * alone[name].parameters["mixer"]
        assert mixed.forward_flops[f"mixer[{i}]"] == times * alone[name].forward_flops["mixer"]
    assert "mixer" not in mixed.parameters
    assert mixed.state is not None
    assert mixed.state.growth == 2 * alone["heads"].state.growth > 0


@pytest.mark.parametrize("order", ["identity", "repeat", "stack"])
def test_a_hybrid_grows_by_rounds(tmp_path, caplog, order):
    caplog.set_level("INFO", "resnetbk")
    parent = hybrid(tmp_path, 8, steps="steps = 3").train(tmp_path / "run")
    start = f'start = {{ use = "grow", path = "{tmp_path / "run"}", order = "{order}" }}'
    child = Learner(hybrid(tmp_path, 16, more=start).spec).model
    origin = {"stack": [0, 4, 0, 4]}.get(order, [0, 0, 4, 4])
    mine, theirs = child.state_dict(), parent.model.state_dict()
    for layer, name in ((0, "channel.expand.weight"), (3, "mixer.query.weight")):
        for number, first in enumerate(origin):
            copied = mine[f"trunk.layers.{4 * number + layer}.{name}"]
            assert torch.equal(copied, theirs[f"trunk.layers.{first + layer}.{name}"])
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "starts fresh" not in said
    assert ("keeps the parent run's function" in said) == (order == "identity")
    with pytest.raises(UserError, match=r"follow a pattern of 4; both depths, 8 and 10, must be multiples"):
        Learner(hybrid(tmp_path, 10, more=start).spec)


def test_weights_are_loaded_layer_by_layer(tmp_path, caplog):
    caplog.set_level("INFO", "resnetbk")
    hybrid(tmp_path, steps="steps = 2").train(tmp_path / "run")
    start = f'start = {{ use = "run", path = "{tmp_path / "run"}" }}'
    Learner(tiny.experiment(tmp_path, depth="depth = 4", more=start).spec)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "starts fresh, not in the parent run: trunk.layers.3.mixer" in said
    assert "not used, since not in this model: trunk.layers.3.mixer" in said


def test_an_ablation_takes_the_pattern_as_one_factor(tmp_path):
    plain, mixed = tiny.experiment(tmp_path, depth="depth = 4").spec, hybrid(tmp_path).spec
    registry = Registry.discover()
    (factor,) = design_ablation(mixed, plain, registry).factors
    assert (factor.name, factor.what) == (
        "mixer",
        "bk-causal -> [bk-causal layers=3, attention layers=1]",
    )
    channels = hybrid(tmp_path, channel='channel = ["mlp", "moe"]', optimizer="").spec
    (factor,) = design_ablation(channels, None, registry).factors
    assert factor.what == "mlp -> [mlp layers=1, moe layers=1]"
    sets = [("all", f"model.mixer=[{CHAINS.replace('8', '9')}, {HEADS}]")]
    assert design_ablation(mixed, plain, registry, sets).variants["all"].model.mixer[0].component.chains == 9
    sets = [("all", f"model.mixer=[{CHAINS}]")]
    with pytest.raises(UserError, match="would be another factor"):
        design_ablation(mixed, plain, registry, sets)


def test_show_and_diff_say_the_pattern(tmp_path):
    mixed = tiny.write_spec(tmp_path, **HYBRID)
    shown = CliRunner().invoke(cli, ["show", str(mixed), "--json"])
    (chains, attention) = json.loads(shown.output)["model"]["mixer"]
    assert list(chains)[:3] == ["use", "layers", "chains"]
    assert (chains["use"], chains["layers"], attention["use"]) == ("bk-causal", 3, "attention")
    other = tmp_path / "other.toml"
    other.write_text(mixed.read_text().replace("chains = 8", "chains = 9"))
    differ = CliRunner().invoke(cli, ["diff", str(mixed), str(other)])
    assert "model.mixer[0].chains: 8 -> 9" in differ.output
