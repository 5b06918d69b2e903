"""Rows that a loop does not compute are attended to by the keys and values of the last loop that did."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk.kinds import Rows
from resnetbk.metering.flops import FlopCounter
from resnetbk.model.assemble import assemble
from resnetbk.model.language_model import LanguageModel
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk_plugins.sequence_mixer.attention import Attention
from resnetbk_plugins.sequence_mixer.attention_to_cached import AttentionToCached

KEYS = [{}, {"rope": False, "convolution": 3}, {"kv_heads": 1, "qk_norm": True}, {"window": 2}]


def built(**keys: object) -> nn.Module:
    torch.manual_seed(0)
    mixer = AttentionToCached(heads=2, **keys).build(width=8, depth=1).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


def oracle(mixer, states: Tensor, position: Tensor, last: Tensor) -> Tensor:
    """(L, N, D) states of loops, (N,), and by row the last loop that computed it, or -1: each row of the last
    loop, one at a time."""
    convolved = states if mixer.convolution is None else mixer.convolution(states)
    q, k, v = mixer._projected(convolved, position)
    group = mixer.heads // mixer.kv_heads
    out = []
    for row in range(len(last)):
        seen = [j for j in range(row + 1) if last[j] >= 0]
        if mixer.window is not None:
            seen = [j for j in seen if j > row - mixer.window]
        heads = []
        for head in range(mixer.heads):
            key = torch.stack([k[last[j], j, head // group] for j in seen])
            value = torch.stack([v[last[j], j, head // group] for j in seen])
            weight = torch.softmax(key @ q[-1, row, head] / math.sqrt(mixer.size), 0)
            heads.append(weight @ value)
        out.append(mixer.output(torch.cat(heads)))
    return torch.stack(out)


@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_each_row_has_the_key_and_value_of_the_last_loop_that_computed_it(keys) -> None:
    mixer = built(**keys)
    states = torch.randn(3, 1, 6, 8, dtype=torch.float64)
    position = torch.tensor([[0, 1, 4, 5, 6, 11]])
    kept: dict[str, Tensor] = {}
    loops = [[0, 1, 2, 4, 5], [1, 2, 4, 5], [2, 5]]  # row 3 is never computed
    for x, rows in zip(states, loops, strict=True):
        done = mixer(x[:, rows], position[:, rows], None, Rows(x, position), kept)
    last = torch.tensor([0, 1, 2, -1, 1, 2])
    expected = oracle(mixer, states[:, 0], position[0], last)
    torch.testing.assert_close(done[0], expected[[2, 5]])


def test_a_window_costs_what_it_costs_in_attention() -> None:
    """Where all rows run, as in the first loop, nothing is computed to be masked."""
    cached = built(window=16)
    plain = Attention(heads=2, window=16).build(width=8, depth=1).double()
    x, position = torch.randn(1, 256, 8, dtype=torch.float64), torch.arange(256)[None]
    flops = []
    for mixer, more in ((plain, ()), (cached, (Rows(x, position), {}))):
        with FlopCounter() as counter, torch.no_grad():
            mixer(x, position, None, *more)
        flops.append(counter.flops)
    assert flops[0] == flops[1]


def test_padding_overwrites_nothing() -> None:
    mixer = built()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    position, length = torch.arange(5).expand(2, -1), torch.tensor([5, 4])
    kept: dict[str, Tensor] = {}
    mixer(x, position, length, Rows(x, position, length), kept)
    before = {name: value[1, :4].clone() for name, value in kept.items()}
    later = x + 1
    rows = torch.tensor([[0, 2, 4], [1, 0, 0]])
    some = later.gather(1, rows[..., None].expand(-1, -1, 8))
    context = Rows(later, position, length)
    done = mixer(some, position.gather(1, rows), torch.tensor([3, 1]), context, kept)
    for name, value in before.items():
        torch.testing.assert_close(kept[name][1, [0, 2, 3]], value[[0, 2, 3]])
        assert not (kept[name][1, 4:] != 0).any()
    alone: dict[str, Tensor] = {}
    for states, chosen in ((x, [0, 1, 2, 3]), (later, [1])):
        given = states[1:, chosen], position[1:, chosen], None
        single = mixer(*given, Rows(states[1:, :4], position[1:, :4]), alone)
    torch.testing.assert_close(done[1, 0], single[0, 0])


def test_what_is_not_finite_reaches_no_row_before_it() -> None:
    mixer = built()
    x, position = torch.randn(1, 5, 8, dtype=torch.float64), torch.arange(5)[None]
    whole = mixer(x, position, None, Rows(x, position), {})
    x[0, 2] = math.inf
    some = mixer(x, position, None, Rows(x, position), {})
    torch.testing.assert_close(some[0, :2], whole[0, :2])
    assert bool(some[0, 2:].isnan().all())


SPEC = """
name = "halted"
[data]
corpus = { use = "text", path = "text.txt" }
window = 8
[model]
width = 16
depth = 3
share = "layers"
mixer = { use = "MIXER", heads = 2, convolution = 3 }
halting = "act"
[train]
steps = 1
batch = 2
"""


def model(tmp_path, mixer: str, unit: type[nn.Module]) -> LanguageModel:
    path = tmp_path / "s.toml"
    path.write_text(SPEC.replace("MIXER", mixer))
    torch.manual_seed(0)
    whole = assemble(read(path, Registry.discover()).model, vocabulary=11, seed=0).eval()
    for name, parameter in whole.named_parameters():
        if parameter.dim() == 2 and "units" not in name:
            nn.init.normal_(parameter, std=0.5)
    whole.trunk.halting.units = nn.ModuleDict({name: unit() for name in whole.trunk.halting.units})
    return whole


class Even(nn.Module):
    """Rows whose state begins with a number above zero halt."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, 20.0, -20.0)


class Never(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), -20.0)


TOKENS = torch.randint(11, (2, 8), generator=torch.Generator().manual_seed(1))


def test_where_all_rows_run_it_is_attention(tmp_path) -> None:
    with torch.no_grad():
        plain, cached = (
            model(tmp_path, name, Never)(TOKENS) for name in ("attention", "attention-to-cached")
        )
    torch.testing.assert_close(cached.logits, plain.logits)


def test_a_halted_row_stays_in_the_model_and_costs_nothing(tmp_path) -> None:
    results, flops = {}, {}
    for mixer in ("attention", "attention-to-cached", "attention-to-all"):
        whole = model(tmp_path, mixer, Even)
        with FlopCounter() as counter, torch.no_grad():
            output = whole(TOKENS)
        results[mixer], flops[mixer] = output, counter.flops
        changed = TOKENS.clone()
        changed[:, 5] = (changed[:, 5] + 1) % 11
        with torch.no_grad():
            torch.testing.assert_close(whole(changed).logits[:, :5], output.logits[:, :5])  # causal
    plain, cached = results["attention"], results["attention-to-cached"]
    assert 0 < cached.rows[1] < 16
    assert cached.rows[1] == plain.rows[1]
    assert not torch.allclose(cached.logits, plain.logits)
    assert not torch.allclose(cached.logits, results["attention-to-all"].logits)
    keys_and_values = 2 * 2 * 16 * 16  # of a row, at least what `attention-to-all` computes and it does not
    halted = sum(16 - rows for rows in cached.rows)
    assert flops["attention-to-all"] - flops["attention-to-cached"] >= halted * keys_and_values * 0.9


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('share = "layers"', 'needs model.share = "layers"'),
        ("recompute = false", "needs model.recompute = false"),
        ("resolution", 'needs model.resolution = "flat"'),
        ("wiring", "needs model.wiring"),
    ],
)
def test_where_nothing_can_be_kept_it_is_refused(tmp_path, change: str, told: str) -> None:
    path = tmp_path / "s.toml"
    text = SPEC.replace("MIXER", "attention-to-cached")
    changed = {
        'share = "layers"': text.replace('share = "layers"', ""),
        "recompute = false": text.replace("depth = 3", "depth = 3\nrecompute = true"),
        "resolution": text.replace(
            "depth = 3", 'depth = 3\nresolution = { use = "hourglass", layers = [1, 1, 1] }'
        ),
        "wiring": text.replace("depth = 3", 'depth = 3\nwiring = "resnet-bk"'),
    }
    path.write_text(changed[change])
    with pytest.raises(UserError) as caught:
        read(path, Registry.discover())
    assert told in str(caught.value)
