"""The controls for learned policies: fixed and random depths."""

from __future__ import annotations

import pytest
import synthetic as s
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetbk.errors import UserError
from resnetbk.kinds import Rows, Stack
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk_plugins.halting_policy.fixed import Fixed
from resnetbk_plugins.halting_policy.random_halting import RandomHalting, hazard

ONE = (Stack(0, (0, 1, 2, 3)),)
HOURGLASS = (Stack(0, (0,)), Stack(1, (1, 2)), Stack(0, (3,)))
ENDS_LOW = (Stack(0, (0,)), Stack(1, (1, 2, 3)), Stack(0, ()))
SPEC = """
name = "t"
[data]
corpus = "python-docs"
[model]
width = 8
depth = 4
mixer = "attention"
halting = {}
[train]
steps = 1
"""


def tokens(batch: int = 2, length: int = 14) -> torch.Tensor:
    return torch.randint(s.VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_fixed_runs_the_first_layers_and_no_other(layers, mode) -> None:
    known = tokens()
    model = s.build(halting=Fixed(layers=layers).build(width=s.WIDTH, stacks=ONE)).train(mode)
    output = model(known)
    assert output.rows == (28,) * layers + (0,) * (4 - layers)
    shallow = s.build()
    shallow.trunk.resolution.stacks = (Stack(0, tuple(range(layers))),)
    assert torch.equal(output.logits, shallow(known).logits)


@pytest.mark.parametrize(
    ("stacks", "layers", "expected"),
    [
        (HOURGLASS, 2, (28, 10, 0, 0)),
        (HOURGLASS, 3, (28, 10, 10, 0)),
        (HOURGLASS, 4, (28, 10, 10, 28)),
        (ENDS_LOW, 1, (28, 0, 0, 0)),
    ],
)
def test_fixed_counts_the_layers_of_all_stacks(stacks, layers, expected) -> None:
    halting = Fixed(layers=layers).build(width=s.WIDTH, stacks=stacks)
    assert s.build(halting=halting, resolution=s.Strided(stacks))(tokens()).rows == expected


@pytest.mark.parametrize("halting", ['{ use = "fixed", layers = 5 }', '{ use = "random", layers = 4.5 }'])
def test_more_layers_than_there_are_is_refused(halting) -> None:
    with pytest.raises(UserError, match=r"model\.halting: layers must be at most model\.depth = 4"):
        read_text(SPEC.format(halting), Registry.discover())


@settings(max_examples=50, deadline=None)
@given(layers=st.integers(0, 12), mean=st.floats(1, 14))
def test_the_hazard_gives_the_mean_that_was_asked_for(layers, mean) -> None:
    q = hazard(layers, mean)
    assert 0 <= q <= 1
    ran = sum((1 - q) ** n for n in range(layers))
    assert ran == pytest.approx(min(mean, layers), abs=1e-6)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("mean", [1.0, 1.7, 2.5, 4.0])
def test_random_runs_as_many_layers_on_average(mean, mode) -> None:
    torch.manual_seed(0)
    policy = RandomHalting(layers=mean).build(width=s.WIDTH, stacks=ONE).train(mode == "train")
    x = torch.zeros(1, 20_000, s.WIDTH)
    halting, ran = policy.begin(0, Rows(x, torch.arange(20_000)[None])), torch.ones(1, 20_000)
    for layer in range(3):
        halting.observe(layer, x)
        ran += 1 if halting.running is None else halting.running
    assert float(ran.mean()) == pytest.approx(mean, abs=0.05)
    if mean == 2.5:
        q = hazard(4, mean)
        expected = [q, q * (1 - q), q * (1 - q) ** 2, (1 - q) ** 3]
        shares = [float((ran == depth).float().mean()) for depth in (1, 2, 3, 4)]
        assert shares == pytest.approx(expected, abs=0.02)


def test_chances_outside_training_follow_from_layer_position_and_seed() -> None:
    position = torch.arange(4000)[None]
    policy0, policy1 = (
        RandomHalting(layers=2, seed=seed).build(width=8, stacks=ONE).eval() for seed in (0, 1)
    )
    chances = [policy0.chances(0, position), policy0.chances(1, position), policy1.chances(0, position)]
    assert torch.equal(chances[0], policy0.chances(0, position))
    assert torch.equal(chances[0][:, 70:90], policy0.chances(0, position[:, 70:90]))
    together = torch.corrcoef(torch.cat(chances))
    assert float((together - torch.eye(3)).abs().max()) < 0.06


def test_training_draws_anew_each_time() -> None:
    policy = RandomHalting(layers=2).build(width=8, stacks=ONE)
    position = torch.arange(50)[None]
    assert not torch.equal(policy.chances(0, position), policy.chances(0, position))


def test_keys_out_of_range_are_refused() -> None:
    for make in (lambda: Fixed(layers=0), lambda: RandomHalting(layers=0.5)):
        with pytest.raises(ValueError, match="layers"):
            make()
