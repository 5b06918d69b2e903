import math

import pytest
import torch
from torch import Tensor, nn

from resnetbk.kinds import Weight
from resnetbk_plugins.optimizer import muon_module
from resnetbk_plugins.optimizer.muon import Muon
from resnetbk_plugins.optimizer.muon_module import MuonUpdate, orthogonalized

SHAPES = [(16, 16), (16, 16), (64, 16), (16, 64), (16, 16), (24, 24)]


def with_gradients(seed: int = 0) -> list[Weight]:
    torch.manual_seed(seed)
    weights = [Weight(f"w{i}", nn.Parameter(torch.randn(shape)), "matrix") for i, shape in enumerate(SHAPES)]
    for weight in weights:
        weight.parameter.grad = torch.randn_like(weight.parameter)
    return weights


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    monkeypatch.setattr(muon_module, "_dtype", lambda device: request.param)
    return request.param


def test_singular_values_come_near_one_and_their_vectors_stay(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(5, 12, 12))
    right, _ = torch.linalg.qr(torch.randn(5, 40, 40))
    values = torch.logspace(0, -1.5, 12).expand(5, 12)
    matrices = left @ torch.diag_embed(values) @ right.mT[:, :12]
    actual = orthogonalized(matrices).float()
    assert actual.shape == matrices.shape
    turned = left.mT @ actual @ right[:, :, :12]
    diagonal = turned.diagonal(dim1=1, dim2=2)
    assert 0.6 < diagonal.min() <= diagonal.max() < 1.3
    assert (turned - torch.diag_embed(diagonal)).abs().max() < 0.06


def test_scale_does_not_matter_and_zero_stays_zero(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(2, 8, 8)
    torch.testing.assert_close(orthogonalized(1024 * matrices), orthogonalized(matrices))
    assert not orthogonalized(torch.zeros(1, 4, 6)).any()


def test_matrices_alike_are_iterated_together_with_the_result_of_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[int, ...]] = []
    plain = orthogonalized

    def counted(matrices: Tensor) -> Tensor:
        calls.append(tuple(matrices.shape))
        return plain(matrices)

    monkeypatch.setattr(muon_module, "orthogonalized", counted)
    together, alone, halves = with_gradients(), with_gradients(), with_gradients()
    update = MuonUpdate(0.1, 0.9, 0.0)
    with torch.no_grad():
        update.apply(together, 1.0)
        assert sorted(calls) == [(2, 16, 64), (3, 16, 16), (24, 24)]
        for weight in alone:
            MuonUpdate(0.1, 0.9, 0.0).apply([weight], 1.0)
        calls.clear()
        monkeypatch.setitem(muon_module.BLOCK, "cpu", 2 * 16 * 16)
        MuonUpdate(0.1, 0.9, 0.0).apply(halves, 1.0)
        assert sorted(calls) == [(2, 16, 16), (16, 16), (16, 64), (16, 64), (24, 24)]
    for a, b, half in zip(together, alone, halves, strict=True):
        torch.testing.assert_close(a.parameter, b.parameter, rtol=0, atol=0.1 * 0.02 * 2)
        torch.testing.assert_close(a.parameter, half.parameter, rtol=0, atol=0.1 * 0.02 * 2)


def test_steps_are_those_of_torchs_muon_within_rounding() -> None:
    ours, theirs = with_gradients(), with_gradients()
    before = [weight.parameter.detach().clone() for weight in ours]
    optimizer = Muon(lr=0.1, momentum=0.9, weight_decay=0.2, decay="constant").build(weights=ours)
    reference = torch.optim.Muon(
        [weight.parameter for weight in theirs], lr=0.1, momentum=0.9, weight_decay=0.2, nesterov=True
    )
    for step in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.parameter.grad = torch.randn_like(a.parameter)
            b.parameter.grad = a.parameter.grad.clone()
        optimizer.update(step, 0.0)
        reference.step()
    for start, a, b in zip(before, ours, theirs, strict=True):
        moved, expected = a.parameter - start, b.parameter - start
        assert (moved - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("shape", [(16, 16), (16, 64), (64, 16)])
def test_the_spectral_size_of_a_step_is_jordans_scaling(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight = Weight("w", nn.Parameter(torch.zeros(shape)), "matrix")
    weight.parameter.grad = torch.randn(shape)
    with torch.no_grad():
        MuonUpdate(0.5, 0.95, 0.0).apply([weight], 0.1)
    expected = 0.05 * math.sqrt(max(1.0, shape[0] / shape[1]))
    values = torch.linalg.svdvals(weight.parameter.detach()) / expected
    assert values.min() > 0.3
    assert values.max() < 1.3
