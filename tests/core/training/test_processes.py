"""Two processes under torchrun: the losses of one, one run folder, and what is refused."""

from __future__ import annotations

import copy
import signal
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from launched import metrics, needs_gloo, torchrun

import resnetbk
from resnetbk.errors import UserError
from resnetbk.kinds import Windows
from resnetbk.runs import checkpoint
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training import objective
from resnetbk.training.processes import Processes
from resnetbk.training.run_state import RunState
from resnetbk.training.signals import Interrupted, Signals

SELECTORS = {
    "shuffle": "",
    # an untrained model is as unsure of every window, and rounding would choose
    "active": 'selector = { use = "active", refresh = 2, warmup = 0.5 }',
    "excess-loss": 'selector = "excess-loss"',
    "curriculum": 'selector = { use = "curriculum", every = 2 }',
}
SHARED = {"batch": "batch = 5", "more": "evaluate = 4"}
"""Shares of 3 and 2 windows."""
COMPONENTS = {
    "sparse": {"embedding": tiny.HASHED},
    "ngram-counts": {"embedding": 'embedding = "ngram-counts"'},
    "every-k": {"more": 'gradient = { use = "every-k", every = 2 }'},
}
RESUMED = {
    "steps": "steps = 6",
    "more": "save = 3\nkeep = 9",
    "channel": 'channel = { use = "mlp", dropout = 0.2 }',
}
CASES = {name: {**SHARED, "selector": line} for name, line in SELECTORS.items()} | {"resumed": RESUMED}
CASES |= {name: {**SHARED, **changes} for name, changes in COMPONENTS.items()}
ALL = """
import atexit, sys
from torch import distributed
from resnetbk.cli import _run
atexit.register(lambda: print("left:", not distributed.is_initialized()))  # the last to be called
for folder in sys.argv[1:]:
    assert _run(["train", f"{folder}/tiny.toml", "--out", f"{folder}/both"]) == 0, folder
"""


@pytest.fixture(scope="module")
def runs_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each case with the run `both`, one after the other in the same two processes: each start
    of two takes longer than all that they train."""
    root = tmp_path_factory.mktemp("two")
    for name, changes in CASES.items():
        (root / name).mkdir()
        tiny.write_spec(root / name, **changes)
    (root / "all.py").write_text(ALL)
    done = torchrun(root, root / "all.py", *(root / name for name in CASES))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parameters,") == len(CASES)  # one of them speaks
    assert done.stdout.count("left: True") == 2  # threads of gloo that outlive Python abort the process
    return root


@needs_gloo
@pytest.mark.parametrize("case", [*SELECTORS, *COMPONENTS])
def test_two_processes_learn_what_one_learns(runs_of_two: Path, case: str) -> None:
    """Rounding grows from step to step."""
    folder = runs_of_two / case
    resnetbk.load(folder / "tiny.toml").train(folder / "alone", device="cpu")
    for key in ("loss", "tokens", "gradient_norm"):
        one, two = metrics(folder / "alone", key), metrics(folder / "both", key)
        assert len(one) == len(two) >= 8
        close = 1e-5 if case in COMPONENTS and key == "loss" else 1e-3
        assert two == pytest.approx(one, rel=close), key
    assert metrics(folder / "both", "loss")[0] == pytest.approx(
        metrics(folder / "alone", "loss")[0], rel=1e-6
    )
    evaluations = [
        [e for e in RunFolder(folder / name).metrics() if e["event"] == "evaluation"]
        for name in ("alone", "both")
    ]
    for one, two in zip(*evaluations, strict=True):
        assert two["tokens"] == one["tokens"]
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert two["rows"] == one["rows"]
        assert two["depths"] == one["depths"]
    flops = [metrics(folder / name, "flops")[-1] for name in ("alone", "both")]
    assert flops[1] == pytest.approx(flops[0], rel=0.5)


@needs_gloo
def test_a_run_of_two_goes_on_as_if_it_had_not_stopped(runs_of_two: Path) -> None:
    folder = runs_of_two / "resumed"
    whole = folder / "both"
    again = tiny.copy_run(whole, folder / "again", drop="step-000006")
    (again / "LATEST").write_text("step-000003\n")
    done = torchrun(folder, "-m", "resnetbk", "train", folder / "tiny.toml", "--out", "again", "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parameters,") == 1  # one of them speaks
    assert metrics(again, "loss") == metrics(whole, "loss")
    assert metrics(again, "flops") == metrics(whole, "flops")
    # whoever starts from it is charged with what both processes did
    path = again / "checkpoints/step-000006"
    cost = RunState.of(checkpoint.load(path), path).training_cost()
    assert cost["flops"] == pytest.approx(metrics(again, "flops")[-1])
    last = "checkpoints/step-000006/model.safetensors"
    assert (again / last).read_bytes() == (whole / last).read_bytes()


def test_each_process_and_step_has_random_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[torch.Tensor] = []

    def broadcast(state: torch.Tensor, source: int) -> None:
        sent.append(state.clone()) if one.first else state.copy_(sent[-1])

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    drawn = []
    with torch.random.fork_rng():
        for _ in range(2):  # between which nothing is drawn, as where a CUDA device has its own generator
            kept = torch.get_rng_state()
            for rank in range(3):
                one = Processes(rank, 3)
                one.align(torch.nn.Linear(1, 1))
                if rank == 0:
                    kept = torch.get_rng_state()
                drawn.append(torch.rand(4))
            torch.set_rng_state(kept)
    assert len({tuple(numbers.tolist()) for numbers in drawn}) == 6


@needs_gloo
def test_what_two_cannot_do_is_refused(tmp_path: Path) -> None:
    spec = tiny.write_spec(tmp_path, batch="batch = 1", more="seconds = 9.0")
    done = torchrun(tmp_path, "-m", "resnetbk", "train", spec, "--out", "run")
    assert done.returncode != 0
    assert "train.seconds: processes have no clock in common; give train.steps alone" in done.stderr
    assert "train.batch: 1 windows cannot be shared among 2 processes" in done.stderr
    assert not (tmp_path / "run").exists()


def test_strategies_and_selectors_must_promise_it(tmp_path: Path, fake_plugin) -> None:
    fake_plugin(
        "other",
        manifest="""
            schema = 1
            [gradient-strategy.odd]
            use = "other.parts:Odd"
            summary = "x"
            provides = ["deterministic"]
            [data-selector.dice]
            use = "other.parts:Odd"
            summary = "x"
        """,
        modules={
            "parts": """
                import attrs

                @attrs.frozen(kw_only=True)
                class Odd:
                    def build(self, **given): ...
            """
        },
    )
    spec = tiny.experiment(tmp_path, more='gradient = "odd"', selector='selector = "dice"').spec
    Processes().check(spec)
    with pytest.raises(UserError) as caught:
        Processes(1, 2).check(spec)
    assert str(caught.value).split("\n") == [
        "train.gradient: 'odd' does not provide 'data-parallel', which 2 processes need",
        "data.selector: 'dice' does not provide 'deterministic', which 2 processes need",
    ]


@pytest.mark.parametrize("strategy", ["selective", "cached"])
def test_strategies_that_see_no_more_than_a_share_are_refused(tmp_path: Path, strategy: str) -> None:
    spec = tiny.experiment(tmp_path, more=f'gradient = "{strategy}"').spec
    with pytest.raises(UserError, match=f"train.gradient: '{strategy}' does not provide 'data-parallel'"):
        Processes(0, 2).check(spec)


def test_shares_are_all_windows_in_order() -> None:
    windows = Windows(np.arange(7) * 10, 16)
    shares = [Processes(rank, 3).share(windows).starts.tolist() for rank in range(3)]
    assert shares == [[0, 10, 20], [30, 40], [50, 60]]
    assert Processes().share(windows) is windows
    assert Processes(1, 8).share(windows) is windows  # too few: every process takes all


class Thread(Processes):
    """Of several in one process, which meet where they gather."""

    met: ClassVar[dict[int, list[Any]]] = {}
    barrier: ClassVar[threading.Barrier]

    def gather(self, value: Any) -> list[Any]:
        self.met[self.rank] = value
        self.barrier.wait()
        gathered = [self.met[rank] for rank in range(self.size)]
        self.barrier.wait()
        return gathered


@pytest.mark.parametrize("signalled", [False, True])
def test_an_evaluation_is_shared(tmp_path: Path, monkeypatch, signalled: bool) -> None:
    """All processes get the same, and end together."""
    run = tiny.experiment(tmp_path).train(tmp_path / "run", device="cpu")
    monkeypatch.setattr(objective, "TOKENS_PER_PASS", 64)
    data, alone = run.data(), run.evaluate()
    Thread.barrier = threading.Barrier(3)
    signals = [Signals() for _ in range(3)]
    signals[1].received = signal.SIGTERM if signalled else 0
    results: dict[int, Any] = {}

    def evaluated(rank: int) -> None:
        model = copy.deepcopy(run.model)
        try:
            results[rank] = objective.evaluate(
                model, data, window=16, precision="fp32", processes=Thread(rank, 3), signals=signals[rank]
            )
        except Interrupted as interrupted:
            results[rank] = interrupted.exit_code

    threads = [threading.Thread(target=evaluated, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1] == results[2]
    if signalled:
        assert results[0] == 128 + signal.SIGTERM
    else:
        assert results[0].loss == pytest.approx(alone.loss, rel=1e-6)
        assert results[0].bits_per_byte == pytest.approx(alone.bits_per_byte, rel=1e-6)
        assert (results[0].tokens, results[0].rows, results[0].depths) == (
            alone.tokens,
            alone.rows,
            alone.depths,
        )
