"""Deeper and wider models from smaller runs: whether the function is preserved, and logged as such."""

import re

import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.training.learner import Learner
from resnetbk_plugins.initializer.grow import Grow
from resnetbk_plugins.initializer.grow_module import _copies, _shared, deepened

MIXERS = {
    "attention": ('{ use = "attention", heads = 2 }', '{ use = "attention", heads = 4 }'),
    "bk-causal": ('{ use = "bk-causal", chains = 8 }', '{ use = "bk-causal", chains = 8 }'),
    "bk-resolvent": ('{ use = "bk-resolvent", chains = 16 }', '{ use = "bk-resolvent", chains = 32 }'),
    "gated-diagonal": (
        '{ use = "gated-diagonal", channels = 16 }',
        '{ use = "gated-diagonal", channels = 32 }',
    ),
}


def trained(folder, **changes: str):
    return tiny.experiment(folder, steps="steps = 4", **changes).train(folder / "run")


def grown(folder, parent, order: str = "", **changes: str) -> Learner:
    chosen = f', order = "{order}"' if order else ""
    start = f'start = {{ use = "grow", path = "{parent.folder.path}"{chosen} }}'
    more = changes.pop("more", "")
    return Learner(tiny.experiment(folder, more=f"{more}\n{start}", **changes).spec)


def apart(a, b) -> float:
    """Largest difference between logits on a text, in standard deviations."""
    tokens = torch.randint(256, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine, theirs = a.model.eval()(tokens).logits, b.model.eval()(tokens).logits
    return float((mine - theirs).abs().max() / theirs.std())


def verdict(caplog) -> str:
    return next(r.getMessage() for r in caplog.records if "the parent run's function" in r.getMessage())


@pytest.mark.parametrize("order", ["identity", "repeat", "stack"])
@pytest.mark.parametrize("wiring", ["sequential", "resnet-bk"])
def test_deeper(tmp_path, caplog, order, wiring):
    caplog.set_level("INFO", "resnetbk")
    model = {"model": f'[model]\nwiring = "{wiring}"', "mixer": f"mixer = {MIXERS['attention'][0]}"}
    parent = trained(tmp_path, channel='channel = { use = "moe", experts = 2 }', **model)
    learner = grown(
        tmp_path, parent, order, channel='channel = { use = "moe", experts = 2 }', depth="depth = 5", **model
    )
    preserved = apart(learner, parent) < 1e-4
    assert preserved == (order == "identity")
    assert ("keeps" in verdict(caplog)) == preserved
    origin = {"stack": [0, 1, 0, 1, 0], "repeat": [0, 0, 0, 1, 1], "identity": [0, 0, 0, 1, 1]}[order]
    mine, theirs = learner.model.state_dict(), parent.model.state_dict()
    for layer, before in enumerate(origin):
        name = "mixer.query.weight"
        assert torch.equal(mine[f"trunk.layers.{layer}.{name}"], theirs[f"trunk.layers.{before}.{name}"])


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("mixer", MIXERS)
def test_twice_as_wide_keeps_the_function_and_copies_learn_apart(tmp_path, caplog, mixer, tie):
    caplog.set_level("INFO", "resnetbk")
    small, large = MIXERS[mixer]
    model = f"[model]\ntie = {str(tie).lower()}"
    parent = trained(tmp_path, mixer=f"mixer = {small}", model=model)
    learner = grown(tmp_path, parent, mixer=f"mixer = {large}", model=model, width="width = 32")
    assert apart(learner, parent) < 1e-3
    assert "keeps" in verdict(caplog)
    weight = learner.model.state_dict()["trunk.layers.0.channel.expand.weight"].clone()
    for _ in range(2):
        learner.learn()
    moved = learner.model.state_dict()["trunk.layers.0.channel.expand.weight"] - weight
    first, other = moved.unflatten(0, (-1, 32))[:, :16], moved.unflatten(0, (-1, 32))[:, 16:]
    assert torch.nn.functional.cosine_similarity(first.flatten(), other.flatten(), 0) < 0.98


def test_wider_with_an_hourglass_and_layer_norm(tmp_path):
    small = {"mixer": f"mixer = {MIXERS['attention'][0]}"}
    shape = "[model]\nnorm = 'layer'\nresolution = { use = 'hourglass', layers = [1, 2, 1], factor = 2 }"
    parent = trained(tmp_path, model=shape, depth="depth = 4", **small)
    large = {"mixer": f"mixer = {MIXERS['attention'][1]}", "width": "width = 32", "depth": "depth = 4"}
    assert apart(grown(tmp_path, parent, model=shape, **large), parent) < 1e-3


def test_a_width_that_is_no_multiple_is_said_not_to_keep_it(tmp_path, caplog):
    caplog.set_level("INFO", "resnetbk")
    mixer = 'mixer = { use = "attention", heads = 2 }'
    parent = trained(tmp_path, mixer=mixer)
    learner = grown(tmp_path, parent, mixer=mixer, width="width = 24", depth="depth = 3")
    assert "does not keep" in verdict(caplog)
    assert apart(learner, parent) > 1e-2
    learner.learn()
    assert learner.read()[0][0].loss > 0


def test_only_larger_models_are_grown(tmp_path):
    mixer = 'mixer = { use = "attention", heads = 2 }'
    parent = trained(tmp_path, mixer=mixer)
    with pytest.raises(UserError, match="has depth 2, more than 1"):
        grown(tmp_path, parent, mixer=mixer, depth="depth = 1")
    with pytest.raises(UserError, match="use 'run'"):
        grown(tmp_path, parent, mixer=mixer)
    with pytest.raises(ValueError, match="path"):
        Grow(path="")


def test_the_parent_run_is_charged_separately_and_the_draw_is_seeded(tmp_path):
    mixer = 'mixer = { use = "attention", heads = 2 }'
    parent = trained(tmp_path, mixer=mixer)
    first, other = (grown(tmp_path, parent, mixer=mixer, width="width = 32") for _ in range(2))
    assert first.parents_cost["tokens"] == 4 * 4 * 16
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name])


def test_shares_of_copies_sum_to_what_was_copied():
    torch.manual_seed(0)
    index = _copies(6, 14, 3, 7)
    assert index.tolist() == [0, 1, 2, 0, 1, 2, 0, 3, 4, 5, 3, 4, 5, 3]
    old = torch.randn(5, 6)
    new = _shared(old[:, index], index, 6)
    torch.testing.assert_close(torch.zeros(5, 6).index_add_(1, index, new), old)
    assert not torch.allclose(new[:, 0], new[:, 3])
    assert _copies(4, 6, 3, 7).tolist() == [0, 1, 2, 3, 0, 1]


def test_only_weights_called_output_are_silenced():
    names = (
        "mixer.output.weight",
        "mixer.output.bias",
        "channel.experts.1.output.weight",
        "mixer.key.weight",
    )
    weights = {f"trunk.layers.0.{name}": torch.ones(2) for name in names} | {"norm.weight": torch.ones(2)}
    deeper = deepened(weights, 1, 2, "identity")
    silent = {name for name, tensor in deeper.items() if not tensor.any()}
    assert silent == {f"trunk.layers.1.{name}" for name in names[:3]}
    assert {int(m[1]) for name in deeper if (m := re.search(r"layers\.(\d)", name))} == {0, 1}
