"""What needs no GPU, and on one: that a layer runs, is causal, and learns."""

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from resnetbk_fla import layer
from resnetbk_fla.gated_deltanet import GatedDeltaNet
from resnetbk_fla.kda import KDA
from resnetbk_fla.mamba2 import Mamba2
from resnetbk_fla.rwkv7 import RWKV7

from resnetbk.errors import UserError

MIXERS = (GatedDeltaNet, KDA, Mamba2, RWKV7)
SPEC = SimpleNamespace(model=SimpleNamespace(width=96))
on_gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() and find_spec("fla")), reason="needs a CUDA GPU and flash-linear-attention"
)


@pytest.mark.parametrize("mixer", MIXERS)
def test_without_a_gpu_one_line_says_so(mixer, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="need a CUDA GPU, and this machine has none"):
        mixer().check(SPEC)
    with pytest.raises(UserError, match="need a CUDA GPU"):
        mixer().build(width=96, depth=1)


@pytest.mark.parametrize("mixer", [Mamba2(head_size=80), RWKV7(head_size=64)])
def test_heads_fit_the_width(mixer, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="does not divide"):
        mixer.check(SPEC)


@pytest.mark.parametrize(
    ("mixer", "name", "sizes"),
    [
        (GatedDeltaNet(), "GatedDeltaNet", {"num_heads": 4, "head_dim": 64, "expand_v": 2}),
        (KDA(), "KimiDeltaAttention", {"num_heads": 4, "head_dim": 64, "expand_v": 1}),
        (Mamba2(), "Mamba2", {"head_dim": 64, "state_size": 128}),
        (RWKV7(), "RWKV7Attention", {"head_dim": 64, "layer_idx": 0, "num_hidden_layers": 2}),
    ],
)
def test_keys_arrive_at_the_layer(mixer, name, sizes, monkeypatch):
    class Layer(torch.nn.Module):
        def __init__(self, hidden_size, **keys):
            super().__init__()
            self.o_proj = self.out_proj = torch.nn.Linear(hidden_size, hidden_size)
            self.keys = keys

        def forward(self, x):
            return self.o_proj(x) + x, None

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "fla", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "fla.layers", SimpleNamespace(**{name: Layer}))
    built = mixer.build(width=128, depth=1)
    assert isinstance(built, layer.FlaMixer)
    assert built.layer.keys == sizes
    assert not built.layer.o_proj.weight.any()
    assert built(torch.randn(2, 3, 128), None, None).shape == (2, 3, 128)


@on_gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mixer", MIXERS)
def test_rows_do_not_see_later_rows_and_every_weight_learns(mixer):
    torch.manual_seed(0)
    built = mixer().build(width=128, depth=2).cuda()
    output = built.layer.out_proj if mixer is Mamba2 else built.layer.o_proj
    torch.nn.init.normal_(output.weight, std=0.1)
    x = torch.randn(2, 128, 128, device="cuda")
    changed = x.clone()
    changed[:, 70:] = torch.randn_like(changed[:, 70:])
    with torch.autocast("cuda", torch.bfloat16):
        first, second = built(x, None, None), built(changed, None, None)
    torch.testing.assert_close(first[:, :70], second[:, :70], rtol=0, atol=0.02)
    assert (first[:, 70:] - second[:, 70:]).abs().max() > 0.05
    first.float().square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in built.parameters())
