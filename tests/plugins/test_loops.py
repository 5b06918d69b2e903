"""Layers that are run over and over: the same numbers as layers with equal weights, which are held once."""

from __future__ import annotations

import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.kinds import Batch
from resnetbk.model.assemble import assemble
from resnetbk.training.learner import Learner
from resnetbk.training.memory import count
from resnetbk.training.objective import objective
from resnetbk_instrument.profile.cost import cost

PATTERN = 'mixer = [{ use = "bk-causal", chains = 8 }, { use = "attention", heads = 2 }]'
HEADS = 'mixer = { use = "attention", heads = 2 }'


def looped(folder, more: str = "", depth: int = 4, share: str = "layers", **changes: str):
    keys = {"embedding": f'share = "{share}"\n{more}', "depth": f"depth = {depth}", "mixer": PATTERN}
    return tiny.experiment(folder, **keys | changes)


def stirred(spec):
    model = assemble(spec.model, vocabulary=256, seed=0).double()
    torch.manual_seed(1)
    for parameter in model.parameters():  # projections that start at zero would hide mistakes
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def text(windows: int = 2) -> torch.Tensor:
    return torch.randint(256, (windows, 13), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("more", ["", 'halting = { use = "act", bias = -0.5 }'])
def test_loops_are_layers_with_equal_weights(tmp_path, more):
    shared, apart = (stirred(looped(tmp_path, more, share=share).spec) for share in ("layers", "none"))
    weights = shared.state_dict()
    for number in (2, 3):
        for name in [name for name in weights if name.startswith(f"trunk.layers.{number - 2}.")]:
            weights[name.replace(f"layers.{number - 2}", f"layers.{number}")] = weights[name]
    apart.load_state_dict(weights)
    tokens = text()
    for model in (shared, apart):
        objective(model.train(), Batch(tokens[:, :-1], tokens[:, 1:]), "fp32")[0].loss.backward()
    assert torch.equal(shared(tokens).logits, apart(tokens).logits)
    assert shared(tokens).rows == apart(tokens).rows
    gradients = {name: parameter.grad for name, parameter in apart.named_parameters()}
    for name, parameter in shared.named_parameters():
        loops = [name.replace(f"layers.{i}.", f"layers.{i + 2}.") for i in range(2)]
        expected = sum(gradients[each] for each in {name, *loops} if gradients[each] is not None)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-12)


def test_weights_are_held_and_counted_once_and_work_is_counted_in_each_loop(tmp_path):
    spec = looped(tmp_path).spec
    model = assemble(spec.model, vocabulary=256, seed=0)
    two = assemble(looped(tmp_path, depth=2, share="none").spec.model, vocabulary=256, seed=0)
    assert model.state_dict().keys() == two.state_dict().keys()
    assert model.parameter_count() == two.parameter_count()
    norms = sum(p.numel() for name, p in model.named_parameters() if "norm" in name)
    assert count(spec.model, 256) == model.parameter_count() - norms
    loops = cost(spec, steps=1)
    once = cost(looped(tmp_path, depth=2, share="none").spec, steps=1)
    assert loops.parameters == once.parameters
    for name in ("mixer[0]", "mixer[1]", "channel"):
        assert loops.forward_flops[name] == 2 * once.forward_flops[name] > 0


def test_rows_that_have_halted_are_not_computed_in_later_loops(tmp_path):
    model = stirred(looped(tmp_path, 'halting = { use = "fixed", layers = 3 }').spec).eval()
    ran: list[int] = []
    for number, layer in enumerate(model.trunk.layers):
        layer.channel.register_forward_pre_hook(lambda _, given, number=number: ran.append(number))
    assert model(text()).rows == (26, 26, 26, 0)
    assert ran == [0, 1, 0]


def test_each_loop_streams_with_a_state_of_its_own(tmp_path):
    model = stirred(looped(tmp_path).spec).eval()
    tokens = text()
    with torch.inference_mode():
        expected, state = model(tokens).logits, model.initial_state(2)
        for i, column in enumerate(tokens.unbind(1)):
            logits, state = model.step(column, state)
            torch.testing.assert_close(logits, expected[:, i], rtol=1e-9, atol=1e-9)
    first, second = state["trunk"]["layers"][1], state["trunk"]["layers"][3]
    assert all(first[name].shape == second[name].shape for name in first)
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_of_loops_is_resumed_evaluated_and_grown(tmp_path, caplog):
    whole = looped(tmp_path, steps="steps = 3\nsave = 1\nkeep = 100").train(tmp_path / "whole")
    stopped = tiny.stopped(tmp_path / "whole", 2, tmp_path / "stopped")
    resumed = looped(tmp_path, steps="steps = 3\nsave = 1\nkeep = 100").train(stopped, resume=True)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert Learner(looped(tmp_path).spec).measure().rows == (1.0,) * 4
    caplog.set_level("INFO", "resnetbk")
    start = f'start = {{ use = "grow", path = "{tmp_path / "whole"}" }}'
    deeper = Learner(looped(tmp_path, depth=6, optimizer=start).spec).model
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, deeper.state_dict()[name]), name
    unrolled = Learner(looped(tmp_path, depth=8, share="none", optimizer=start).spec).model
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "starts fresh" not in said
    assert "keeps the parent run's function" in said.splitlines()[-1]
    name = "trunk.layers.{}.channel.expand.weight"
    for layer in range(8):
        assert torch.equal(
            unrolled.state_dict()[name.format(layer)], whole.model.state_dict()[name.format(layer % 2)]
        )


def test_a_depth_that_cuts_a_loop_short_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"model\.share: depth = 3 is no multiple of the pattern's 2; give 4$"
    ):
        looped(tmp_path, depth=3)
    assert looped(tmp_path, depth=3, mixer=HEADS).spec.model.distinct == 1
