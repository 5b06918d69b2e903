from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import resnetbk
from resnetbk.errors import UserError
from resnetbk.kinds import SelectionContext, Windows
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint
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


class Learning:
    """Answers a hundredth of the labels for each step at a length; the first window of each step has none."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}
        self.scored: list[int] = []

    def score(self, windows: Windows, measure: str = "loss") -> np.ndarray:
        assert measure == "accuracy"
        self.scored.append(windows.length)
        shares = np.full(len(windows.starts), self.steps[windows.length] / 100, np.float32)
        shares[0] = np.nan
        return shares

    def run(self, chosen: GrowSelector, steps: range, total: int = 400) -> list[int]:
        actual = []
        for step in steps:
            windows = chosen.select(SelectionContext(step, step / total, self.score))
            assert len(windows.starts) * windows.length == 4 * 64
            self.steps[windows.length] = self.steps.get(windows.length, 0) + 1
            actual.append(windows.length)
        return actual


def by_accuracy(**keys: float) -> GrowSelector:
    grow = Grow(start=8, **keys)  # type: ignore[arg-type]
    return grow.build(tokens=np.zeros(5000, np.uint8), window=64, batch=4, seed=0)


def test_lengths_double_as_soon_as_accuracy_suffices() -> None:
    learning = Learning()
    actual = learning.run(by_accuracy(at_accuracy=0.25, until=1.0), range(400))
    assert actual == [8] * 29 + [16] * 30 + [32] * 30 + [64] * 311
    # at every tenth step, until windows are whole
    assert learning.scored == [8] * 3 + [16] * 3 + [32] * 3


def test_lengths_double_by_steps_where_accuracy_does_not_suffice() -> None:
    learning = Learning()
    assert learning.run(by_accuracy(at_accuracy=1.0), range(400)) == lengths(by_accuracy(), 400)
    assert len(learning.scored) == 20
    early = Learning().run(by_accuracy(at_accuracy=0.55, until=0.3), range(400))
    assert early == [8] * 40 + [16] * 40 + [32] * 40 + [64] * 280
    early = Learning().run(by_accuracy(at_accuracy=0.35, until=0.3), range(400))
    assert early == [8] * 39 + [16] * 40 + [32] * 40 + [64] * 281


def test_windows_without_labels_say_nothing() -> None:
    def unlabelled(windows: Windows, measure: str = "loss") -> np.ndarray:
        return np.full(len(windows.starts), np.nan, np.float32)

    chosen = by_accuracy(at_accuracy=0.1)
    assert chosen.select(SelectionContext(9, 0.0, unlabelled)).length == 8


@given(stop=st.integers(0, 150))
def test_growth_by_accuracy_is_resumed(stop: int) -> None:
    whole, learning = Learning(), Learning()
    stopped, resumed = by_accuracy(at_accuracy=0.15), by_accuracy(at_accuracy=0.15)
    first = learning.run(stopped, range(stop))
    state = stopped.state()
    resumed.restore({name: value.copy() for name, value in state.items()})
    assert first + learning.run(resumed, range(stop, 150)) == whole.run(
        by_accuracy(at_accuracy=0.15), range(150)
    )
    assert state.keys() == {"halvings"}


def test_a_run_that_grows_by_accuracy_resumes_bit_for_bit(tmp_path: Path) -> None:
    task = 'corpus = { use = "group-words", group = "Z2", length = 16, examples = 200, held_out = 20 }'
    grow = 'selector = { use = "grow", start = 4, until = 1.0, at_accuracy = 0.3 }'
    keys = {"corpus": task, "selector": grow, "steps": "steps = 18", "more": "save = 5\nkeep = 9"}
    tiny.write_spec(tmp_path, **keys)
    whole = resnetbk.load(tmp_path / "tiny.toml").train(tmp_path / "whole")
    tiny.stopped(whole.folder.path, 10, tmp_path / "parts")
    parts = resnetbk.load(tmp_path / "tiny.toml").train(tmp_path / "parts", resume=True)
    assert parts.report.loss == whole.report.loss
    assert parts.report.accuracy == whole.report.accuracy
    state = checkpoint.load(checkpoint.latest(whole.folder.path)).state
    assert int(state["selector"]["halvings"]) == 0  # by steps it would be 1 until step 20
    assert whole.report.phases["scoring"].flops > 0
    losses = [
        [line["loss"] for line in run.folder.metrics() if line["event"] == "step"] for run in (whole, parts)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 18


def test_a_corpus_without_labels_has_no_accuracy() -> None:
    with pytest.raises(UserError) as caught:
        read_text(spec('{ use = "grow", start = 8, at_accuracy = 0.9 }'), Registry.discover(), "f")
    assert str(caught.value) == (
        "f:5: data.selector: at_accuracy: 'python-docs' is no task and has no labels; "
        'write { use = "grow", start = 8, until = 0.5 }'
    )


@pytest.mark.parametrize("keys", [{"start": 0}, {"until": 0.0}, {"until": 1.5}, {"at_accuracy": 1.1}])
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
