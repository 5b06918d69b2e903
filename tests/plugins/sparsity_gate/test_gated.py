"""The keys that gates share, and errors when they do not fit."""

from __future__ import annotations

import pytest

from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text


def read(gate: str, model: str = "", depth: int = 3):
    head = 'name = "t"\n[data]\ncorpus = "python-docs"\n[train]\nsteps = 1\n[model]\nwidth = 8\n'
    text = f'{head}depth = {depth}\nmixer = "bk-causal"\ngate = {gate}\n{model}\n'
    return read_text(text, Registry.discover())


@pytest.mark.parametrize("name", ["gumbel", "top-rate", "random"])
@pytest.mark.parametrize(
    ("keys", "model", "message"),
    [
        ("keep = 0.0", "", "keep: must be more than 0.0, is 0.0"),
        ("keep = 1.5", "", "keep: must be at most 1.0, is 1.5"),
        ("layers = [0, 3]", "", "layers names 3; model.depth = 3 has layers 0 to 2"),
        ("layers = [1, 1]", "", "layers: must name different layers"),
        ("layers = [-1]", "", "layers: must name different layers"),
        ("layers = []", "", "layers: must name different layers"),
        ("fill = -1", "", "fill: must be at least 0, is -1"),
        ('scope = "row"', "", "expects 'layer' or 'mixer' or 'channel', found 'row'"),
        ('scope = "mixer"', 'wiring = "resnet-bk"', "needs model.wiring = 'sequential'"),
        ('scope = "channel"', 'wiring = "resnet-bk"', "needs model.wiring = 'sequential'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name: str, keys: str, model: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(f'{{ use = "{name}", {keys} }}', model)
    assert len(caught.value.mistakes) == 1
    assert "model.gate" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["gumbel", "top-rate", "random"])
def test_a_model_of_one_layer_has_to_name_it(name: str) -> None:
    with pytest.raises(UserError, match=r"to gate that layer, layers = \[0\]"):
        read(f'"{name}"', depth=1)
    assert read(f'{{ use = "{name}", layers = [0] }}', depth=1).model.gate.component.layers == (0,)


@pytest.mark.parametrize("scope", ["layer", "mixer", "channel"])
def test_every_scope_fits_the_sequential_wiring(scope: str) -> None:
    assert read(f'{{ use = "random", scope = "{scope}" }}').model.gate.component.scope == scope
