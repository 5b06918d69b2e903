"""Rows that a layer does not compute are attended to all the same, as the states that they are left in."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk.kinds import Rows
from resnetbk.metering.flops import FlopCounter
from resnetbk.model.assemble import assemble
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read
from resnetbk_plugins.sequence_mixer.attention_to_all import AttentionToAll

KEYS = [
    {},
    {"rope": False, "convolution": 3},
    {"kv_heads": 1, "qk_norm": True},
    {"window": 2},
    {"bias": True},
]


def built(**keys: object) -> nn.Module:
    torch.manual_seed(0)
    mixer = AttentionToAll(heads=2, **keys).build(width=8, depth=1).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


def given(x: Tensor, position: Tensor, rows: list[list[int]]) -> tuple[Tensor, Tensor, None]:
    """The computed rows of each sequence, by number."""
    row = torch.tensor(rows)
    return x.gather(1, row[..., None].expand(-1, -1, x.shape[2])), position.gather(1, row), None


@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_some_rows_get_what_they_get_among_all_computed(keys: dict[str, object]) -> None:
    mixer = built(**keys)
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    position = torch.tensor([[0, 1, 4, 5, 6, 11, 12], [0, 2, 3, 4, 9, 0, 0]])
    length = torch.tensor([7, 5])
    whole = mixer(x, position, length)
    some = mixer(*given(x, position, [[1, 3, 6], [0, 4, 4]]), Rows(x, position, length))
    torch.testing.assert_close(some[0], whole[0, [1, 3, 6]])
    torch.testing.assert_close(some[1, :2], whole[1, [0, 4]])


def test_what_is_not_finite_reaches_no_row_before_it() -> None:
    mixer = built()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    position = torch.arange(5)[None]
    whole = mixer(*given(x, position, [[1, 3]]), Rows(x, position))
    x[0, 2] = math.inf
    some = mixer(*given(x, position, [[1, 3]]), Rows(x, position))
    torch.testing.assert_close(some[0, 0], whole[0, 0])
    assert bool(some[0, 1].isnan().all())


SPEC = """
name = "halted"
[data]
corpus = { use = "text", path = "text.txt" }
window = 8
[model]
width = 16
depth = 3
mixer = { use = "MIXER", heads = 2 }
halting = "act"
[train]
steps = 1
batch = 2
"""


def model(tmp_path, mixer: str) -> nn.Module:
    path = tmp_path / "s.toml"
    path.write_text(SPEC.replace("MIXER", mixer))
    torch.manual_seed(0)
    whole = assemble(read(path, Registry.discover()).model, vocabulary=11, seed=0).eval()
    for name, parameter in whole.named_parameters():
        if parameter.dim() == 2 and "units" not in name:
            nn.init.normal_(parameter, std=0.5)
    return whole


class Even(nn.Module):
    """Rows whose state begins with a number above zero halt."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, 20.0, -20.0)


def test_a_halted_row_stays_in_the_model_and_costs_its_key_and_value_alone(tmp_path) -> None:
    tokens = torch.randint(11, (2, 8), generator=torch.Generator().manual_seed(1))
    results, flops = {}, {}
    for mixer in ("attention", "attention-to-all"):
        whole = model(tmp_path, mixer)
        whole.trunk.halting.units = nn.ModuleDict({name: Even() for name in whole.trunk.halting.units})
        with FlopCounter() as counter, torch.no_grad():
            output = whole(tokens)
        results[mixer], flops[mixer] = output, counter.flops
        changed = tokens.clone()
        changed[:, 5] = (changed[:, 5] + 1) % 11
        with torch.no_grad():
            torch.testing.assert_close(whole(changed).logits[:, :5], output.logits[:, :5])  # causal
    plain, to_all = results["attention"], results["attention-to-all"]
    assert 0 < plain.rows[1] < 16
    assert to_all.rows[1] == plain.rows[1]
    assert not torch.allclose(to_all.logits, plain.logits)
    assert flops["attention"] < flops["attention-to-all"]


def test_another_wiring_is_refused(tmp_path) -> None:
    path = tmp_path / "s.toml"
    text = SPEC.replace("MIXER", "attention-to-all")
    path.write_text(text.replace("depth = 3", 'depth = 3\nwiring = "resnet-bk"'))
    with pytest.raises(UserError, match=r"model[.]mixer: needs model[.]wiring"):
        read(path, Registry.discover())


def test_nothing_is_packed_where_no_row_is_left_out() -> None:
    with pytest.raises(ValueError, match="use attention"):
        AttentionToAll(packed=True)
