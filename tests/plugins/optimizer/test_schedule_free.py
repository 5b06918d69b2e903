"""Optimizer `schedule-free`: the package's own updates, evaluated with averages, resumed bit for bit."""

from __future__ import annotations

import copy

import pytest
import tiny
import torch
from optimized import STEPS, net, train

import resnetbk
from resnetbk.errors import StorageError, UserError
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint
from resnetbk.training.averaging import averaged
from resnetbk_authoring.testing.suite import applicable, subject_of
from resnetbk_plugins.optimizer.schedule_free import ScheduleFree

GIVEN = 'optimizer = { use = "schedule-free", lr = 0.01, warmup = 3, weight_decay = 0.1 }'


@pytest.fixture
def schedulefree():
    return pytest.importorskip("schedulefree", reason="the extra schedulefree is not installed")


def test_updates_and_averages_are_those_of_the_package(schedulefree):
    ours, theirs = net(sparse=True), net(sparse=False)
    optimizer = ScheduleFree(lr=0.01, warmup=3, weight_decay=0.1).build(weights=ours.weights())
    two = [[p for p in theirs.parameters() if (p.ndim >= 2) == decayed] for decayed in (True, False)]
    groups = [{"params": two[0], "weight_decay": 0.1}, {"params": two[1], "weight_decay": 0.0}]
    reference = schedulefree.AdamWScheduleFree(groups, lr=0.01, betas=(0.9, 0.95), warmup_steps=3)
    reference.train()
    rates = train(ours, optimizer, range(STEPS))
    for step in range(STEPS):
        tokens = torch.randint(13, (4, 9), generator=torch.Generator().manual_seed(step))
        logits = theirs(tokens[:, :-1]).flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).backward()
        reference.step()
        reference.zero_grad()
    assert rates[:4] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01])
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    before = copy.deepcopy(ours.state_dict())
    reference.eval()
    with averaged(optimizer):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
        assert not torch.equal(ours.query.weight, before["query.weight"])
    torch.testing.assert_close(ours.state_dict(), before, rtol=0, atol=0)


def test_a_run_is_evaluated_with_averages_and_resumes_bit_for_bit(schedulefree, tmp_path):
    more = "save = 1\nkeep = 100\nevaluate = 2"
    trial = tiny.experiment(tmp_path, optimizer=GIVEN, more=more)
    whole = trial.train(tmp_path / "whole", strict_flops=True)
    again = resnetbk.open_run(tmp_path / "whole")
    assert again.evaluate().loss == whole.report.loss
    last = checkpoint.load(checkpoint.latest(whole.folder.path))
    name = "embedding.weight" if "embedding.weight" in last.optimizer["trained"] else next(iter(last.model))
    assert not torch.equal(last.optimizer["trained"][name], last.model[name])
    for stop in (1, 4):
        folder = tiny.stopped(whole.folder.path, stop, tmp_path / f"stopped-{stop}")
        resumed = trial.train(folder, resume=True)
        other = checkpoint.load(checkpoint.latest(resumed.folder.path))
        torch.testing.assert_close(other.model, last.model, rtol=0, atol=0)
        assert resumed.report.loss == whole.report.loss


def test_it_passes_the_conformance_checks(schedulefree):
    registry = Registry.discover(allow=["resnetbk"])
    subject = subject_of(registry, registry.find("optimizer", "schedule-free"), {})
    checks = [*applicable(subject)]
    assert "optimizer-resumed" in [check.name for check in checks]
    for check in checks:
        check.run(subject)


def test_a_state_of_other_weights_is_refused(schedulefree):
    model = net()
    optimizer = ScheduleFree().build(weights=model.weights())
    train(model, optimizer, range(2))
    other = ScheduleFree().build(weights=model.weights()[1:])
    with pytest.raises(StorageError, match=r"no weight 'table\.weight'"):
        other.load_state_dict(optimizer.state_dict())
    with pytest.raises(StorageError, match="of another optimizer"):
        optimizer.load_state_dict({"adamw": {}})


def test_an_average_of_averages_is_refused(tmp_path):
    path = tiny.write_spec(tmp_path, optimizer=GIVEN, more="average = 0.99")
    with pytest.raises(UserError, match=r"train\.optimizer: .* average already; leave train\.average"):
        resnetbk.load(path)


def test_without_the_package_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("resnetbk_plugins.optimizer.schedule_free.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "resnetbk\[schedulefree\]"'):
        tiny.experiment(tmp_path, optimizer=GIVEN).train(tmp_path / "run")
