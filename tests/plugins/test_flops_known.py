"""Every operator that a first-party component uses can be counted, in training, evaluation and generation."""

from __future__ import annotations

import attrs
import pytest
import torch
from settings import LEFT_OUT, SETTINGS

from resnetbk.kinds import KINDS
from resnetbk.metering.flops import FlopCounter
from resnetbk.registry.entry import Entry
from resnetbk.registry.lookup import Registry
from resnetbk.training.learner import Learner
from resnetbk_authoring.testing.subject import Subject

REGISTRY = Registry.discover()


def names(entry: Entry) -> tuple[str, str]:
    return f"{entry.kind}/{entry.name}", entry.name


def cases():
    """A corpus is read before anything is counted; `bandit` and `baby-steps` compute nothing, and choose
    among groups, which this text has not; half precision is for models alone."""
    for entry in REGISTRY.entries():
        counted = entry.kind != "corpus" and entry.name not in {"bandit", "baby-steps"}
        if entry.plugin == "resnetbk" and counted and not {*names(entry)} & {*LEFT_OUT}:
            for precision in ("fp32", "bf16") if KINDS[entry.kind].key.startswith("model.") else ("fp32",):
                yield pytest.param(entry, precision, id=f"{names(entry)[0]}-{precision}")


@pytest.mark.parametrize(("entry", "precision"), list(cases()))
def test_nothing_is_unknown(entry, precision, monkeypatch):
    monkeypatch.setattr("resnetbk_plugins.data_selector.ngram.TABLE_BITS", 12)
    settings = next((SETTINGS[name] for name in names(entry) if name in SETTINGS), None)
    whole = Subject.of(REGISTRY, entry, settings).spec()
    train = attrs.evolve(whole.train, steps=3, batch=4, precision=precision)
    with FlopCounter() as counter:
        learner = Learner(attrs.evolve(whole, data=attrs.evolve(whole.data, window=8), train=train))
        for _ in range(3):
            learner.learn()
        learner.measure()
        if "streaming" in learner.model.provides:
            tokens = torch.as_tensor(learner.data.train[:2].astype("int64"))
            with torch.no_grad():
                learner.model.step(tokens, learner.model.initial_state(2))
    assert counter.flops
    assert dict(counter.unknown) == {}
