from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from resnetbk_plugins.channel_mixer.mlp import ACTIVATIONS, MLP
from resnetbk_plugins.channel_mixer.mlp_module import FUNCTIONS
from resnetbk_plugins.channel_mixer.swiglu import SwiGLU


def built(width: int = 6, **keys: object) -> nn.Module:
    torch.manual_seed(0)
    mixer = SwiGLU(**keys).build(width=width, depth=2).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_rows_equal_the_formula(activation: str, bias: bool) -> None:
    mixer = built(activation=activation, bias=bias)
    x = torch.randn(5, 6, dtype=torch.float64)
    expected = mixer.output(FUNCTIONS[activation](mixer.gate(x)) * mixer.expand(x))
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


@pytest.mark.parametrize(("width", "hidden"), [(128, 344), (384, 1024), (768, 2048), (4, 8)])
def test_it_has_about_as_many_weights_as_an_mlp(width: int, hidden: int) -> None:
    gated, plain = (c.build(width=width, depth=2) for c in (SwiGLU(), MLP()))
    assert gated.expand.weight.shape == gated.gate.weight.shape == (hidden, width)
    counts = [sum(p.numel() for p in mixer.parameters()) for mixer in (gated, plain)]
    if width > 4:
        assert counts[0] == pytest.approx(counts[1], rel=0.01)


def test_a_fresh_layer_adds_nothing_and_starts_by_fan_in() -> None:
    torch.manual_seed(0)
    mixer = SwiGLU(bias=True).build(width=64, depth=2)
    assert torch.equal(mixer(torch.randn(4, 64))[0], torch.zeros(4, 64))
    for projection in (mixer.gate, mixer.expand):
        assert projection.weight.std().item() == pytest.approx(64**-0.5, rel=0.05)


def test_bfloat16_autocast_stays_close() -> None:
    mixer, x = built().float(), torch.randn(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = mixer(x)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), mixer(x)[0], atol=0.1, rtol=0.1)


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
        SwiGLU(**keys)
