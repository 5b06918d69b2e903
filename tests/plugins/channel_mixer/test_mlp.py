from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from resnetbk_plugins.channel_mixer.mlp import ACTIVATIONS, MLP
from resnetbk_plugins.channel_mixer.mlp_module import FUNCTIONS


def built(seed: int = 0, **keys: object) -> nn.Module:
    torch.manual_seed(seed)
    mixer = MLP(**keys).build(width=6, depth=2).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


def test_every_activation_is_there() -> None:
    assert tuple(FUNCTIONS) == ACTIVATIONS
    x = torch.tensor([-2.0, 0.0, 3.0])
    assert FUNCTIONS["relu2"](x).tolist() == [0.0, 0.0, 9.0]
    torch.testing.assert_close(FUNCTIONS["silu"](x), x / (1 + (-x).exp()))
    torch.testing.assert_close(FUNCTIONS["gelu"](x), x * 0.5 * (1 + torch.erf(x / 2**0.5)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_rows_equal_the_formula(activation: str, bias: bool) -> None:
    mixer = built(activation=activation, bias=bias)
    x = torch.randn(5, 6, dtype=torch.float64)
    hidden = x @ mixer.expand.weight.T + (mixer.expand.bias if bias else 0)
    expected = FUNCTIONS[activation](hidden) @ mixer.output.weight.T + (mixer.output.bias if bias else 0)
    actual, penalties = mixer(x)
    torch.testing.assert_close(actual, expected)
    assert penalties == {}


def test_gradients_are_exact_and_reach_every_parameter() -> None:
    mixer = built(bias=True)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixer(x)[0], (x,))
    mixer(x)[0].sum().backward()
    assert all(bool((p.grad != 0).any()) for p in mixer.parameters())


@pytest.mark.parametrize("rows", [0, 1, 33])
def test_any_number_of_rows(rows: int) -> None:
    mixer = built()
    actual, _ = mixer(torch.randn(rows, 6, dtype=torch.float64))
    assert actual.shape == (rows, 6)
    actual.sum().backward()
    assert all(p.grad is not None for p in mixer.parameters())


def test_a_fresh_layer_adds_nothing_and_starts_by_fan_in() -> None:
    torch.manual_seed(0)
    mixer = MLP(bias=True).build(width=64, depth=2)
    assert torch.equal(mixer(torch.randn(4, 64))[0], torch.zeros(4, 64))
    assert mixer.expand.weight.std().item() == pytest.approx(64**-0.5, rel=0.05)


@pytest.mark.parametrize(("expansion", "hidden"), [(4.0, 24), (0.01, 1), (2.75, 16)])
def test_hidden_units(expansion: float, hidden: int) -> None:
    assert built(expansion=expansion).expand.weight.shape == (hidden, 6)


def test_bfloat16_autocast_and_state_dict_round_trip() -> None:
    first, second = built(0).float(), built(1).float()
    second.load_state_dict(first.state_dict())
    x = torch.randn(4, 6)
    assert torch.equal(first(x)[0], second(x)[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = first(x)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), first(x)[0], atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"expansion": 0.0}, "'expansion' must be > 0.0: 0.0"),
        (
            {"activation": "gelo"},
            "'activation' must be in ('relu2', 'gelu', 'gelu-tanh', 'silu') (got 'gelo')",
        ),
    ],
)
def test_mistakes_are_named(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        MLP(**keys)
