"""Back-propagation through the last loops: whose gradients it gives, and what it does not compute."""

from __future__ import annotations

import pytest
import tiny
import torch

from resnetbk.errors import UserError
from resnetbk.kinds import Batch
from resnetbk.model.assemble import assemble
from resnetbk.training.learner import Learner
from resnetbk.training.objective import objective

ATTENTION = 'mixer = { use = "attention", heads = 2 }'


def looped(folder, gradient: str = '"backprop"', share: str = "layers"):
    return tiny.experiment(
        folder, depth="depth = 4", embedding=f'share = "{share}"', mixer=ATTENTION, steps="steps = 3",
        optimizer=f"gradient = {gradient}",
    ).spec  # fmt: skip


def truncated(loops: int) -> str:
    return f'{{ use = "truncated", loops = {loops} }}'


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_the_last_loops(tmp_path, recompute):
    """Of four layers with equal weights the last two have them; what is before gets that of their input."""
    shared = assemble(looped(tmp_path).model, vocabulary=256, seed=0).double()
    apart = assemble(looped(tmp_path, share="none").model, vocabulary=256, seed=0).double()
    torch.manual_seed(1)
    for parameter in shared.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    weights = shared.state_dict()
    for name in [name for name in weights if "layers.0." in name]:
        weights |= {name.replace("layers.0", f"layers.{i}"): weights[name] for i in range(1, 4)}
    apart.load_state_dict(weights)
    shared.trunk.recompute = recompute
    shared.trunk.constant = 2
    tokens = torch.randint(256, (2, 9))
    inputs = []
    apart.embedding.register_forward_hook(lambda _, __, x: inputs.append(x))
    apart.trunk.layers[2].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    losses = [objective(m, Batch(tokens[:, :-1], tokens[:, 1:]), "fp32")[0].loss for m in (shared, apart)]
    assert torch.equal(*losses)
    rows, late = inputs
    (before,) = torch.autograd.grad(losses[1], late, retain_graph=True)
    for loss in losses:
        loss.backward(retain_graph=True)
    gradients = {name: parameter.grad for name, parameter in apart.named_parameters()}
    for name, parameter in shared.named_parameters():
        expected = gradients[name]
        if "layers.0" in name:
            expected = sum(gradients[name.replace("layers.0", f"layers.{i}")] for i in (2, 3))
        elif name == "embedding.table.weight":
            (expected,) = torch.autograd.grad(rows, apart.embedding.weight, before.view_as(rows))
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-12)


def test_with_all_loops_it_is_backprop(tmp_path):
    trained = []
    for gradient in ('"backprop"', truncated(4)):
        learner = Learner(looped(tmp_path, gradient))
        for _ in range(3):
            learner.learn()
        trained.append(learner.model.state_dict())
    assert all(torch.equal(tensor, trained[1][name]) for name, tensor in trained[0].items())


def test_the_backward_pass_of_earlier_loops_is_not_computed(tmp_path):
    spent, ran = {}, {}
    for loops in (1, 2, 4):
        learner = Learner(looped(tmp_path, truncated(loops)))
        back: list[int] = []
        learner.model.trunk.layers[0].mixer.register_full_backward_hook(lambda *_, back=back: back.append(1))
        learner.learn()
        spent[loops] = {phase: learner.meter.costs[phase].flops for phase in ("forward", "backward")}
        ran[loops] = len(back)
    assert ran == {1: 1, 2: 2, 4: 4}
    assert spent[1]["forward"] == pytest.approx(spent[4]["forward"], rel=0.02)
    each = spent[2]["backward"] - spent[1]["backward"]
    assert spent[4]["backward"] - spent[2]["backward"] == pytest.approx(2 * each, rel=0.05)
    assert each > 0.15 * spent[4]["backward"]


def test_it_is_refused_without_loops_or_with_too_many(tmp_path):
    with pytest.raises(UserError, match=r'tiny\.toml:\d+: train\.gradient: .*give model\.share = "layers"$'):
        looped(tmp_path, truncated(1), share="none")
    with pytest.raises(UserError, match=r"loops must be at most 4, .*, not 5$"):
        looped(tmp_path, truncated(5))
