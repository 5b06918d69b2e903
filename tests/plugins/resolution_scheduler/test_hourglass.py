from __future__ import annotations

import math

import pytest
import synthetic as s
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.errors import UserError
from resnetbk.kinds import Rows, Stack
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk_plugins.resolution_scheduler.hourglass import Hourglass
from resnetbk_plugins.resolution_scheduler.hourglass_module import HourglassResolution

WIDTH = 5


def built(layers: tuple[int, ...] = (1, 2, 1), factor: int | tuple[int, ...] = 4) -> HourglassResolution:
    """In double precision, with weights that are not zero."""
    torch.manual_seed(0)
    module = Hourglass(layers=layers, factor=factor).build(width=WIDTH, depth=sum(layers))
    assert isinstance(module, HourglassResolution)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


def rows(count: int, batch: int = 2, step: int = 1, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, count, WIDTH, dtype=torch.float64, generator=generator)
    return Rows(x, (step * torch.arange(count)).repeat(batch, 1))


NO_TOKENS = torch.zeros(2, 0, dtype=torch.long)


def test_layers_go_up_and_down_the_levels() -> None:
    assert built((1, 2, 1)).stacks == (Stack(0, (0,)), Stack(1, (1, 2)), Stack(0, (3,)))
    assert built((1, 1, 2, 0, 0), 2).stacks == (
        *(Stack(0, (0,)), Stack(1, (1,)), Stack(2, (2, 3))),
        *(Stack(1, ()), Stack(0, ())),
    )


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 40), k=st.integers(2, 7))
def test_down_is_a_projection_of_the_rows_up_to_its_own(count: int, k: int) -> None:
    module, fine = built(factor=k), rows(count)
    coarse = module.down(1, fine, NO_TOKENS)
    assert coarse.x.shape == (2, math.ceil(count / k), WIDTH)
    assert coarse.length is None
    weight, matrix = module.pool[0], module.pooled[0]
    for b in range(2):
        for j in range(coarse.x.shape[1]):
            expected = torch.zeros(WIDTH, dtype=torch.float64)
            for place, i in enumerate(range(j * k - (k - 1), j * k + 1)):
                if i >= 0:
                    expected = expected + weight[place] * fine.x[b, i]
            torch.testing.assert_close(coarse.x[b, j], matrix @ expected)
            assert coarse.position[b, j] == j * k


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 40), k=st.integers(2, 7))
def test_up_adds_a_projection_of_the_coarse_row_at_each_offset(count: int, k: int) -> None:
    module, fine = built(factor=k), rows(count)
    coarse = rows(math.ceil(count / k), step=k, seed=1)
    actual = module.up(1, fine, coarse)
    scale, matrix = module.spread[0], module.read[0]
    assert actual.position is fine.position
    for b in range(2):
        for p in range(count):
            read = coarse.x[b, p // k]
            read = read / (read.square().mean() + torch.finfo(torch.float64).eps).sqrt()
            torch.testing.assert_close(actual.x[b, p], fine.x[b, p] + scale[p % k] * (matrix @ read))


def test_a_fine_row_alone_reads_by_its_position() -> None:
    module = built((1, 1, 1, 1, 1), (3, 4))
    for level, step in ((1, 1), (2, 3)):
        fine = rows(29, step=step)
        coarse = module.down(level, fine, NO_TOKENS)
        expected = module.up(level, fine, coarse).x
        k = module.factors[level - 1]
        order = torch.tensor([0, 1])
        for p, q in ((0, 28), (5, 14), (11, 7)):  # the sequences need not be at one place
            place = torch.tensor([p, q])
            row = Rows(fine.x[order, place][:, None], fine.position[order, place][:, None])
            read = Rows(coarse.x[order, place // k][:, None], coarse.position[order, place // k][:, None])
            torch.testing.assert_close(module.up(level, row, read).x[:, 0], expected[order, place])


def test_at_the_start_coarse_rows_are_means_and_nothing_is_read_of_them() -> None:
    module = Hourglass(layers=(1, 2, 1)).build(width=WIDTH, depth=4).double()
    fine = rows(9)
    coarse = module.down(1, fine, NO_TOKENS)
    padded = F.pad(fine.x, (0, 0, 3, 0))
    torch.testing.assert_close(coarse.x, padded.view(2, 3, 4, WIDTH).mean(2))
    assert torch.equal(module.up(1, fine, coarse).x, fine.x)


def test_ragged_rows_equal_one_by_one() -> None:
    module, fine = built(factor=3), rows(11, batch=4)
    length = torch.tensor([11, 0, 4, 1])
    packed = module.down(1, Rows(fine.x, fine.position, length), NO_TOKENS)
    assert packed.length is not None
    assert packed.length.tolist() == [4, 0, 2, 1]
    up = module.up(1, Rows(fine.x, fine.position, length), packed)
    for b, real in ((0, 11), (2, 4), (3, 1)):
        alone = Rows(fine.x[b : b + 1, :real], fine.position[b : b + 1, :real])
        coarse = module.down(1, alone, NO_TOKENS)
        torch.testing.assert_close(packed.x[b, : coarse.x.shape[1]], coarse.x[0])
        torch.testing.assert_close(up.x[b, :real], module.up(1, alone, coarse).x[0])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 13, 40])
def test_layers_run_one_row_for_every_so_many(count: int) -> None:
    resolution = Hourglass(layers=(1, 1, 1, 1, 1), factor=(2, 3)).build(width=s.WIDTH, depth=5)
    model = s.build(depth=5, resolution=resolution)
    half = math.ceil(count / 2)
    rows = (count, half, math.ceil(half / 3), half, count)
    assert model(torch.zeros(2, count, dtype=torch.long)).rows == tuple(2 * each for each in rows)


def test_the_first_token_begins_a_row_at_every_level() -> None:
    module = built((1, 1, 1, 1, 1), (2, 3))
    state = module.initial_state(2)
    begun: dict[int, list[int]] = {1: [], 2: []}
    for position in range(13):
        row = Rows(torch.randn(2, 1, WIDTH).double(), torch.full((2, 1), position))
        for level in (1, 2):
            row, begins, state = module.down_step(level, row, torch.zeros(2, 1, dtype=torch.long), state)
            assert begins.tolist() == [begins[0].item()] * 2
            if not begins[0]:
                break
            begun[level].append(position)
    assert begun == {1: [0, 2, 4, 6, 8, 10, 12], 2: [0, 6, 12]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"layers": ()}, "must name 3, 5, 7"),
        ({"layers": (4,)}, "must name 3, 5, 7"),
        ({"layers": (1, 2, 2, 1)}, "must name 3, 5, 7, .. stacks, such as .1, 2, 1., not 4"),
        ({"layers": (1, -1, 1)}, "at least 0 in each stack"),
        ({"layers": (1, 0, 1)}, "at least 1 in the middle stack"),
        ({"layers": (1, 2, 1), "factor": 1}, "must be at least 2, not 1"),
        ({"layers": (1, 2, 1), "factor": (4, 2)}, "names 2 levels, but layers = .1, 2, 1. has 1"),
        ({"layers": (1, 1, 2, 1, 1), "factor": (4, 0)}, "must be at least 2, not 0"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Hourglass(**keys)
    assert "\n" not in str(caught.value)


def spec(resolution: str) -> str:
    model = f'[model]\nwidth = 8\ndepth = 6\nmixer = "bk-causal"\nresolution = {resolution}\n'
    return f'name = "t"\n[data]\ncorpus = "python-docs"\n{model}[train]\nsteps = 1\n'


def test_a_spec_says_layers_and_factors_in_arrays() -> None:
    text = '{ use = "hourglass", layers = [1, 1, 2, 1, 1], factor = [4, 2] }'
    component = read_text(spec(text), Registry.discover()).model.resolution.component
    assert component == Hourglass(layers=(1, 1, 2, 1, 1), factor=(4, 2))


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        ('"hourglass"', "missing key 'layers'"),
        (
            '{ use = "hourglass", layers = [1, 2, 1] }',
            "model.resolution: layers = [1, 2, 1] are 4 layers, but model.depth is 6",
        ),
        ('{ use = "hourglass", layers = [2, 2, 2], factor = 1 }', "factor: must be at least 2, not 1"),
        ('{ use = "hourglass", layers = [2, 2, 2], factor = "4" }', "factor"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(resolution: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_text(spec(resolution), Registry.discover())
    assert message in str(caught.value)


def test_building_for_another_depth_is_refused() -> None:
    with pytest.raises(ValueError, match=r"are 4 layers, but model\.depth is 5"):
        Hourglass(layers=(1, 2, 1)).build(width=8, depth=5)


def test_positions_rise_where_fine_rows_do() -> None:
    actual: Tensor = built(factor=3).down(1, rows(10), NO_TOKENS).position
    assert actual.tolist() == [[0, 3, 6, 9]] * 2
