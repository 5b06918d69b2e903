"""Optimizer `torch`: torch's own updates, options checked without importing torch, state saved exactly."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny
import torch
from optimized import STEPS, net, train

import resnetbk
from resnetbk.errors import UserError
from resnetbk.runs import checkpoint
from resnetbk.runs.state import join, split
from resnetbk_plugins.optimizer.torch_classes import REFUSED, options
from resnetbk_plugins.optimizer.torch_optim import TorchOptimizer

CLASSES = sorted(options().keys() - REFUSED)


def test_the_classes_read_from_its_source_are_those_of_torch():
    import inspect

    arguments = {
        name: tuple(inspect.signature(cls).parameters)[2:]
        for name, cls in vars(torch.optim).items()
        if isinstance(cls, type)
        and issubclass(cls, torch.optim.Optimizer)
        and cls is not torch.optim.Optimizer
    }
    no_rate = [name for name in arguments if name not in options()]
    assert {name: arguments[name] for name in options()} == options()
    assert not no_rate
    assert {"AdamW", "NAdam", "Adafactor", "SGD"} <= set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_a_saved_and_resumed_run_goes_on_bit_for_bit_as_torch_would(name):
    component = TorchOptimizer(name=name, lr=1e-3, weight_decay=0.1 if name != "Rprop" else 0.0, warmup=3)
    whole, first, second = net(), net(), net()
    expected = train(whole, component.build(weights=whole.weights()), range(STEPS))
    optimizer = component.build(weights=first.weights())
    rates = train(first, optimizer, range(10))
    second.load_state_dict(first.state_dict())
    resumed = component.build(weights=second.weights())
    resumed.load_state_dict(join(*split(optimizer.state_dict())))
    rates += train(second, resumed, range(10, STEPS))
    assert rates == expected
    for (weight, one), other in zip(whole.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other), weight
    state = resumed.state_dict()
    assert set(state["adagrad"]) == {"hashed.weight"}
    assert "query.weight" in state["torch"]
    assert "idle.weight" not in state["torch"]


@pytest.mark.parametrize("fused", [False, True])
def test_updates_are_those_of_the_class_with_decay_by_role(fused):
    ours, theirs = net(sparse=False), net(sparse=False)
    given = {"betas": [0.8, 0.9], "amsgrad": True, "fused": fused}
    component = TorchOptimizer(lr=1e-2, weight_decay=0.1, decay="constant", options=given)
    train(ours, component.build(weights=ours.weights()), range(STEPS))
    two = [[p for p in theirs.parameters() if (p.ndim >= 2) == decayed] for decayed in (True, False)]
    groups = [{"params": two[0], "weight_decay": 0.1}, {"params": two[1], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=(0.8, 0.9), amsgrad=True, fused=fused)
    for step in range(STEPS):
        tokens = torch.randint(13, (4, 9), generator=torch.Generator().manual_seed(step))
        logits = theirs(tokens[:, :-1]).flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).backward()
        reference.step()
        reference.zero_grad()
    for (weight, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other), weight


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('name = "AdmW"', r"optimizer\.name: torch\.optim has no 'AdmW'; did you mean 'AdamW'\?"),
        ('name = "LBFGS"', r"torch\.optim\.LBFGS computes the loss several times"),
        ('name = "SparseAdam"', r"torch\.optim\.SparseAdam takes sparse gradients alone"),
        ('name = "Muon"', r"use = 'muon'"),
        (
            "options = { beta = 1 }",
            r"options: torch\.optim\.AdamW has no option 'beta'; did you mean 'betas'\?",
        ),
        ("options = { lr = 1e-3 }", r"'lr' stands beside name: { use = \"torch\", lr = 0\.001 }"),
        ("options = { maximize = true }", r"torch\.optim\.AdamW has no option 'maximize'"),
        ('name = "Rprop", weight_decay = 0.1', r"torch\.optim\.Rprop has no weight decay; leave it out"),
    ],
)
def test_check_refuses_what_cannot_be(tmp_path, keys, said):
    path = tiny.write_spec(tmp_path, optimizer=f'optimizer = {{ use = "torch", {keys} }}')
    with pytest.raises(UserError, match=said):
        resnetbk.load(path)


def test_a_value_that_the_class_refuses_is_one_line(tmp_path):
    given = 'optimizer = { use = "torch", options = { betas = [2.0, 0.9] } }'
    with pytest.raises(
        UserError, match=r"train\.optimizer: 'torch' .* Invalid beta parameter at index 0: 2\.0"
    ):
        tiny.experiment(tmp_path, optimizer=given).train(tmp_path / "run")


def test_options_are_checked_without_importing_torch():
    code = (
        "import sys; from resnetbk_plugins.optimizer.torch_optim import TorchOptimizer\n"
        "TorchOptimizer(name='SGD', options={'momentum': 0.9}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_run_resumes_bit_for_bit(tmp_path):
    given = 'optimizer = { use = "torch", name = "NAdam", lr = 0.01, warmup = 2 }'
    trial = tiny.experiment(tmp_path, optimizer=given, more="save = 1\nkeep = 100\naverage = 0.9")
    whole = trial.train(tmp_path / "whole", strict_flops=True)
    folder = tiny.stopped(whole.folder.path, 3, tmp_path / "stopped")
    resumed = trial.train(folder, resume=True)
    assert resumed.report.loss == whole.report.loss
    one, other = (checkpoint.load(checkpoint.latest(run.folder.path)) for run in (whole, resumed))
    torch.testing.assert_close(other.model, one.model, rtol=0, atol=0)
    torch.testing.assert_close(other.optimizer, one.optimizer, rtol=0, atol=0)
