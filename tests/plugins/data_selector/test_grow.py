from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetbk.errors import UserError
from resnetbk.kinds import SelectionContext, Windows
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk_plugins.data_selector.grow import Grow, GrowSelector
from resnetbk_plugins.data_selector.shuffle import Shuffle


def no_score(windows: Windows) -> np.ndarray:
    raise AssertionError("grow asks for no scores")


def context(step: int, progress: float) -> SelectionContext:
    return SelectionContext(step=step, progress=progress, score=no_score)


def selector(
    window: int = 256,
    batch: int = 4,
    *,
    total: int = 5000,
    seed: int = 0,
    start: int = 32,
    until: float = 0.5,
) -> GrowSelector:
    grow = Grow(start=start, until=until)
    return grow.build(tokens=np.zeros(total, np.uint8), window=window, batch=batch, seed=seed)


def lengths(chosen: GrowSelector, steps: int = 1000) -> list[int]:
    return [chosen.select(context(step, step / steps)).length for step in range(steps)]


def test_lengths_double_in_equal_parts_of_the_run() -> None:
    actual = lengths(selector(until=0.6))
    assert actual == [32] * 200 + [64] * 200 + [128] * 200 + [256] * 400


def test_a_window_that_doubling_does_not_reach_starts_above_the_start() -> None:
    assert sorted(set(lengths(selector(window=100, start=32)))) == [50, 100]
    assert sorted(set(lengths(selector(window=63, start=32)))) == [63]


def test_the_two_stages_of_shortformer() -> None:
    assert lengths(selector(window=64, until=0.3), 10) == [32] * 3 + [64] * 7


sizes = st.fixed_dictionaries(
    {
        "window": st.integers(1, 300),
        "batch": st.integers(1, 9),
        "seed": st.integers(0, 2**32),
        "start": st.integers(1, 300),
        "until": st.floats(0.01, 1.0),
    }
)


@given(sizes=sizes, step=st.integers(0, 500), progress=st.floats(0, 1, exclude_max=True))
def test_a_step_learns_from_the_tokens_of_whole_windows(sizes: dict, step: int, progress: float) -> None:
    total = sizes["window"] + 57
    windows = selector(**sizes, total=total).select(context(step, progress))
    assert windows.starts.dtype == np.int64
    assert windows.starts.min() >= 0
    assert windows.starts.max() <= total - windows.length - 1
    assert min(sizes["start"], sizes["window"]) <= windows.length <= sizes["window"]
    pieces = len(windows.starts) // sizes["batch"]
    left_out = sizes["batch"] * sizes["window"] - len(windows.starts) * windows.length
    assert 0 <= left_out < sizes["batch"] * pieces
    whole = Shuffle().build(
        tokens=np.zeros(total), window=sizes["window"], batch=sizes["batch"], seed=sizes["seed"]
    )
    places = windows.starts.reshape(sizes["batch"], pieces) - windows.length * np.arange(pieces)
    np.testing.assert_array_equal(places, np.tile(whole.select(context(step, 0)).starts[:, None], pieces))


@given(sizes=sizes)
def test_lengths_only_grow_and_end_whole(sizes: dict) -> None:
    chosen = selector(**sizes, total=400)
    actual = [chosen.select(context(0, progress)).length for progress in np.linspace(0, 0.999, 60)]
    assert actual == sorted(actual)
    assert chosen.select(context(0, sizes["until"])).length == sizes["window"]


def test_tokens_of_a_step_stay_constant_where_lengths_divide() -> None:
    chosen = selector(batch=3)
    for progress in (0.0, 0.2, 0.4, 0.6):
        windows = chosen.select(context(0, progress))
        assert len(windows.starts) * windows.length == 3 * 256


@given(sizes=sizes, first=st.integers(0, 100))
def test_any_step_comes_out_the_same_from_a_fresh_selector(sizes: dict, first: int) -> None:
    used, fresh = selector(**sizes), selector(**sizes)
    for step in range(0, first, 7):
        windows = used.select(context(step, step / 200))
        used.observe(context(step, step / 200), windows, np.zeros(len(windows.starts)))
    assert used.state() == {}
    fresh.restore(used.state())
    one, other = (each.select(context(first, first / 200)) for each in (used, fresh))
    assert one.length == other.length
    np.testing.assert_array_equal(one.starts, other.starts)


def test_seeds_differ() -> None:
    one, other = (selector(seed=seed).select(context(0, 0.0)).starts for seed in (1, 2))
    assert not (one == other).all()


def test_a_corpus_shorter_than_a_whole_window_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="at least 257 tokens"):
        selector(total=256)


@pytest.mark.parametrize("keys", [{"start": 0}, {"until": 0.0}, {"until": 1.5}])
def test_settings_out_of_range_are_refused(keys: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        Grow(**keys)


def spec(selector: str) -> str:
    data = f'[data]\ncorpus = "python-docs"\nwindow = 64\nselector = {selector}\n'
    return f'name = "t"\n{data}[model]\nwidth = 8\ndepth = 1\nmixer = "bk-causal"\n[train]\nsteps = 1\n'


def test_a_start_beyond_the_window_is_refused_in_its_place() -> None:
    read_text(spec('{ use = "grow", start = 64 }'), Registry.discover())
    with pytest.raises(UserError, match=r"data.selector: start = 65 must be at most data.window = 64"):
        read_text(spec('{ use = "grow", start = 65 }'), Registry.discover())
