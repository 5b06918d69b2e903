"""The two-sided diagonal: exact, and not causal, so not for language models."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import Tensor, nn

import resnetbk
from resnetbk.errors import UserError
from resnetbk_plugins.kernels import two_sided
from resnetbk_plugins.sequence_mixer.bk_diagonal import BKDiagonal


def built(width: int = 6, chains: int = 4) -> nn.Module:
    torch.manual_seed(0)
    mixer = BKDiagonal(chains=chains).build(width=width, depth=1).double()
    nn.init.normal_(mixer.output.weight)
    return mixer


def rows(batch: int, count: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, count, 6, dtype=torch.float64), torch.arange(count).repeat(batch, 1)


def test_rows_are_the_diagonal_of_the_dense_resolvent() -> None:
    mixer, (x, position) = built(), rows(1, 9)
    site, eta = mixer.spectrum.site(mixer.potential(x))
    hopping = torch.diag(torch.ones(8, dtype=torch.float64), 1)
    hopping = hopping + hopping.T
    dense = [torch.linalg.inv(torch.diag(site[0, :, c] - 1j * eta[c]) + hopping).diagonal() for c in range(4)]
    diagonal = torch.stack(dense, dim=-1)
    expected = mixer.output(torch.cat((diagonal.real, diagonal.imag), dim=-1))
    torch.testing.assert_close(mixer(x, position, None)[0], expected)


def test_it_sees_the_future() -> None:
    """The leak that `bidirectional` names: changing the last row changes every earlier one."""
    mixer, (x, position) = built(), rows(1, 8)
    other = x.clone()
    other[:, -1] += 1.0
    moved = (mixer(x, position, None) - mixer(other, position, None)).abs().amax(dim=(0, 2))
    assert bool((moved > 1e-9).all())
    assert moved[-1] > moved[0]


def test_the_future_changes_the_very_number_that_would_predict_it() -> None:
    potential = torch.zeros(1, 5, 1, dtype=torch.float64)
    potential.requires_grad_()
    eta = torch.full((1,), 0.5, dtype=torch.float64)
    real, imag = two_sided(potential, eta)
    (slope,) = torch.autograd.grad(real[0, 1, 0] + imag[0, 1, 0], potential)
    assert slope[0, 2, 0].abs() > 0.01  # row 1, read to predict token 2, depends on token 2


def test_a_language_model_refuses_it_and_says_why(tmp_path) -> None:
    with pytest.raises(UserError, match=r"model\.mixer: .*bk-diagonal.*'causal'.*predict") as caught:
        resnetbk.load(tiny.write_spec(tmp_path, mixer='mixer = "bk-diagonal"'))
    assert "tiny.toml:" in str(caught.value)


def test_sequences_end_at_their_length() -> None:
    mixer, (x, position) = built(), rows(3, 10)
    length = torch.tensor([10, 4, 1])
    packed = mixer(x, position, length)
    for b, real in enumerate(length.tolist()):
        alone = mixer(x[b : b + 1, :real], position[b : b + 1, :real], None)
        torch.testing.assert_close(packed[b, :real], alone[0], rtol=1e-12, atol=1e-12)


def test_ends_at_length_in_single_precision_and_trains() -> None:
    mixer, (x, position) = built().float(), rows(2, 12)
    length = torch.tensor([12, 5])
    packed = mixer(x.float(), position, length)
    alone = mixer(x[1:, :5].float(), position[1:, :5], None)
    torch.testing.assert_close(packed[1, :5], alone[0], rtol=1e-5, atol=1e-5)
    packed[1, :5].square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in mixer.parameters())


@pytest.mark.parametrize("count", [0, 1, 2, 65])
def test_any_number_of_rows(count: int) -> None:
    mixer, (x, position) = built(), rows(2, count)
    assert mixer(x, position, None).shape == (2, count, 6)


def test_gradients_are_exact() -> None:
    mixer, (x, position) = built(chains=3), rows(2, 5)
    names = [name for name, _ in mixer.named_parameters()]

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(mixer, dict(zip(names, weights, strict=True)), (x, position, None))

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), *mixer.parameters()))
