"""What is the same in all trainings of a variant."""

from __future__ import annotations

import attrs
import pytest
import tiny
import torch

from resnetbk.errors import NumericError
from resnetbk.registry.lookup import Registry
from resnetbk.training.experiment import Experiment
from resnetbk.training.signals import Signals
from resnetbk_instrument.session import runner as module


@pytest.mark.parametrize(("steps", "compiled"), [(2000, True), (999, False)])
def test_all_trainings_of_a_variant_are_compiled_or_none_is(tmp_path, monkeypatch, steps, compiled):
    """Whether "auto" compiles depends on the variant's own length, not on that of one training."""
    asked = []

    class Watched(Experiment):
        def train(self, *arguments, **more):
            asked.append(self.spec.train.compile)
            raise NumericError("enough")

    monkeypatch.setattr(module, "Experiment", Watched)
    monkeypatch.setattr(module, "find_device", lambda device: torch.device("cuda"))
    spec = tiny.experiment(tmp_path).spec
    variant = attrs.evolve(spec, train=attrs.evolve(spec.train, steps=steps))
    train = module.runner(Registry.discover(), Signals(), "cuda")
    for budget in (4, 5000):
        with pytest.raises(NumericError):
            train(variant, 0, budget)
    assert asked == [compiled, compiled]
