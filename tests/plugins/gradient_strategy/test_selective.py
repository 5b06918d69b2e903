import pytest
import torch

from resnetbk.kinds import Batch
from resnetbk.metering.flops import FlopCounter
from resnetbk_plugins.gradient_strategy.backprop import Backprop
from resnetbk_plugins.gradient_strategy.selective import Selective


def part(batch: Batch, chosen: list[int]) -> Batch:
    return Batch(batch.inputs[chosen], batch.targets[chosen])


@pytest.mark.parametrize(("keep", "selected"), [(0.5, 4), (0.3, 3), (0.01, 1)])
def test_the_gradient_is_that_of_the_windows_with_the_largest_losses(toy, batch, keep, selected):
    whole = toy.objective(batch(8))
    chosen = sorted(whole.window_losses.argsort(descending=True)[:selected].tolist())
    expected = toy.plain(part(batch(8), chosen))
    result = Selective(keep=keep).build(weights=toy.weights()).gradients(0, batch(8), toy.objective)
    assert toy.calls == [(8, False), (selected, True)]
    for name, gradient in toy.gradients().items():
        torch.testing.assert_close(gradient, expected[name])
    assert torch.equal(result.window_losses, whole.window_losses), "of all windows"
    torch.testing.assert_close(result.cross_entropy, whole.cross_entropy)
    torch.testing.assert_close(result.loss, whole.loss.detach())
    assert not result.loss.requires_grad


def test_keeping_all_is_backprop_without_an_extra_forward_pass(toy, batch):
    expected = toy.plain(batch(6))
    Selective(keep=1.0).build(weights=toy.weights()).gradients(0, batch(6), toy.objective)
    assert toy.calls == [(6, True)]
    for name, gradient in toy.gradients().items():
        assert torch.equal(gradient, expected[name])


def test_pieces_hold_for_both_passes(toy, batch):
    Selective(keep=0.5, accumulate=2).build(weights=toy.weights()).gradients(0, batch(8), toy.objective)
    assert toy.calls == [(4, False), (4, False), (2, True), (2, True)]


def test_work_is_what_the_docstring_says(toy, batch):
    """A forward pass over all windows, and a forward and a backward pass over the selected windows."""
    spent = {}
    for component in (Backprop(), Selective(keep=0.5)):
        strategy = component.build(weights=toy.weights())
        strategy.gradients(0, batch(64), toy.objective)
        with FlopCounter() as counter:
            strategy.gradients(1, batch(64), toy.objective)
        spent[type(component).__name__] = counter.operators["aten::addmm"] + counter.operators["aten::mm"]
    assert spent["Selective"] / spent["Backprop"] == pytest.approx((1 + 3 * 0.5) / 3, rel=0.02)


@pytest.mark.parametrize("keep", [0.0, 1.01])
def test_a_share_that_is_none_is_refused(keep):
    with pytest.raises(ValueError, match="keep"):
        Selective(keep=keep)
