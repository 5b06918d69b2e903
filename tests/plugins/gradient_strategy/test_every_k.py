import pytest
import torch

from resnetbk.errors import UserError
from resnetbk.metering.flops import FlopCounter
from resnetbk_plugins.gradient_strategy.every_k import EveryK


def test_slow_weights_take_part_every_k_steps(toy, batch):
    strategy = EveryK(every=3, slow=["table", "hashed"]).build(weights=toy.weights())
    for step in range(7):
        expected = toy.plain(batch(4, step))
        strategy.gradients(step, batch(4, step), toy.objective)
        actual = toy.gradients()
        names = {"head.weight", "head.bias"} | ({"table.weight", "hashed.weight"} if step % 3 == 0 else set())
        assert set(actual) == names
        for name in names:
            assert torch.equal(actual[name], expected[name])
        assert all(parameter.requires_grad for parameter in toy.parameters())


def test_the_work_of_slow_weights_is_not_done(toy, batch):
    """Of the head's two products backward, the one towards its input leads to slow weights alone."""
    spent = {}
    for step in (0, 1):
        strategy = EveryK(every=2, slow=["table", "hashed"]).build(weights=toy.weights())
        with FlopCounter() as counter:
            strategy.gradients(step, batch(64), toy.objective)
        spent[step] = counter.operators["aten::addmm"] + counter.operators["aten::mm"]
    assert spent[1] / spent[0] == pytest.approx(2 / 3, rel=0.02)


def test_an_error_leaves_all_weights_trainable(toy, batch):
    strategy = EveryK(slow=["table"]).build(weights=toy.weights())

    def fails(piece):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        strategy.gradients(1, batch(2), fails)
    assert toy.table.weight.requires_grad


def test_names_that_mean_nothing_or_everything_are_refused(toy):
    with pytest.raises(UserError, match="'tabel'; did you mean 'table'"):
        EveryK(slow=["tabel"]).build(weights=toy.weights())
    with pytest.raises(UserError, match="all weights"):
        EveryK(slow=["table", "hashed", "head", "idle"]).build(weights=toy.weights())
    with pytest.raises(ValueError, match="slow"):
        EveryK(slow=[])
    with pytest.raises(ValueError, match="every"):
        EveryK(every=0)
