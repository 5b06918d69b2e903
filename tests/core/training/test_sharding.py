"""Two processes with torch's FSDP2: the losses of one, checkpoints for any number, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from launched import metrics, needs_gloo, torchrun

import resnetbk
from resnetbk.errors import UserError
from resnetbk.kinds import Weight
from resnetbk.runs import checkpoint
from resnetbk.training.learner import Learner
from resnetbk.training.processes import Processes
from resnetbk_plugins.gradient_strategy.micro_batches import MicroBatches
from resnetbk_plugins.optimizer.torch_optim import TorchOptimizer

FSDP = 'parallel = "fsdp"\nevaluate = 3'
CASES = {
    "attention": {"mixer": 'mixer = { use = "attention", heads = 2 }', "optimizer": 'optimizer = "adamw"'},
    "bk-causal": {"channel": "recompute = true"},
    "bk-moebius": {
        "mixer": 'mixer = { use = "bk-moebius", chains = 4 }',
        "optimizer": 'optimizer = "adamw"',
        "more": FSDP + "\nclip = 0.05\ngradient = { accumulate = 2 }",
    },
    "moe": {
        "channel": 'channel = { use = "moe", balance = 0.0 }',
        "optimizer": 'optimizer = "adamw"',
    },
    "sparse": {"embedding": tiny.HASHED, "more": FSDP + '\ngradient = { use = "every-k", every = 2 }'},
    "labelled": {"more": FSDP + '\ngradient = "labelled"'},
    "ddp": {"more": 'parallel = "ddp"\nevaluate = 3\naverage = 0.9'},
}
# of which layers, or halves of them, have rows in one process, in both or in none, at random
IDLE = {
    "layers": {"window": "window = 4", "embedding": 'gate = { use = "random", keep = 0.1 }'},
    "mixers": {"window": "window = 4", "embedding": 'gate = { use = "random", keep = 0.1, scope = "mixer" }'},
}
RESUMED = {"more": FSDP + "\nsave = 2\nkeep = 9\naverage = 0.9", "selector": 'selector = "excess-loss"'}
PROGRAM = """
import json, sys
from resnetbk.cli import _run
from resnetbk.spec.read import read
from resnetbk.registry.lookup import Registry
from resnetbk.training.learner import Learner
from resnetbk.training.processes import Processes

for arguments in json.loads(sys.argv[1]):
    assert _run(["train", *arguments]) == 0, arguments
learner = Learner(read(sys.argv[2], Registry.discover()), processes=Processes.here())
held = [(p.to_local().numel(), p.numel()) for p in learner.parameters]
assert all(part < whole for part, whole in held), held
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each case with the runs `alone`, of one process, and `both`, of two; in `resumed` also
    `one-then-two`, which goes on in two after step 2."""
    root = tmp_path_factory.mktemp("fsdp")
    (root / "program.py").write_text(PROGRAM)
    commands = []
    for name, changes in (CASES | IDLE | {"resumed": RESUMED}).items():
        folder = root / name
        folder.mkdir()
        spec = tiny.write_spec(folder, **{"more": FSDP, "steps": "steps = 5", **changes})
        resnetbk.load(spec).train(folder / "alone", device="cpu")
        commands.append([str(spec), "--out", str(folder / "both"), "--json"])
    cut = tiny.stopped(folder / "alone", 2, folder / "one-then-two")
    commands.append([str(spec), "--out", str(cut), "--resume", "--json"])
    done = torchrun(root, root / "program.py", json.dumps(commands), spec)
    assert done.returncode == 0, done.stderr
    return root


@needs_gloo
@pytest.mark.parametrize("case", [*CASES, "resumed"])
def test_two_processes_learn_what_one_learns(runs: Path, case: str) -> None:
    for key in ("loss", "gradient_norm", "tokens", "bits_per_byte"):
        one, two = (metrics(runs / case / name, key) for name in ("alone", "both"))
        assert len(one) == len(two) >= 2
        assert two == pytest.approx(one, rel=1e-3 if key == "gradient_norm" else 1e-5), key


@needs_gloo
@pytest.mark.parametrize("case", IDLE)
def test_no_process_waits_for_one_without_rows(runs: Path, case: str) -> None:
    one, two = (metrics(runs / case / name, "loss") for name in ("alone", "both"))
    assert two == pytest.approx(one, rel=1e-2)
    rows = [number for layers in metrics(runs / case / "both", "rows") for number in layers]
    assert min(rows) <= (1 if case == "layers" else 9) / 16  # of 16 rows one has been mixed, in one process


@needs_gloo
def test_a_run_goes_on_in_another_number_of_processes(runs: Path) -> None:
    folder = runs / "resumed"
    cut = tiny.stopped(folder / "both", 2, folder / "two-then-four")
    spec = folder / "tiny.toml"
    command = ("-m", "resnetbk", "train", spec, "--out", cut, "--resume")
    done = torchrun(folder, *command, processes=4)
    assert done.returncode == 0, done.stderr
    for before, after in (("both", "two-then-one"), ("two-then-four", "four-then-one")):
        cut = tiny.stopped(folder / before, 2 if before == "both" else 4, folder / after)
        resnetbk.load(spec).train(cut, device="cpu", resume=True)
    whole = metrics(folder / "alone", "loss")
    for name in ("two-then-one", "one-then-two", "two-then-four", "four-then-one"):
        assert metrics(folder / name, "loss") == pytest.approx(whole, rel=1e-5), name
    # the tensors are those of one process: names, shapes, and nearly the values
    states = [checkpoint.load(checkpoint.latest(folder / name)) for name in ("alone", "both")]
    torch.testing.assert_close(states[1].model, states[0].model, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(states[1].optimizer, states[0].optimizer, rtol=1e-2, atol=1e-3)
    assert resnetbk.open_run(folder / "both").evaluate().loss == pytest.approx(whole[-1], rel=1e-5)


def test_what_cannot_go_in_step_is_refused(tmp_path: Path) -> None:
    spec = tiny.experiment(tmp_path, batch="batch = 5", more='compile = true\nparallel = "ddp"').spec
    Processes().check(spec)
    with pytest.raises(UserError) as caught:
        Processes(1, 2).check(spec)
    equal, uncompiled = str(caught.value).split("\n")
    assert equal.endswith("shared equally, which train.parallel = 'ddp' needs; give a multiple of 2")
    assert uncompiled == "train.compile: train.parallel = 'ddp' runs uncompiled; leave it out"
    gated = tiny.experiment(tmp_path, more='parallel = "fsdp"', embedding='gate = "gumbel"').spec
    with pytest.raises(UserError, match=r'train.parallel: "fsdp" cannot take trunk.gate.*bias, which has'):
        Learner(gated, device="cpu", processes=Processes(1, 2))


def test_a_pass_in_step_is_not_made_again() -> None:
    def work(count: int) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="in 1 micro-batches; give accumulate = 2: with"):
        MicroBatches(1, True).run(torch.device("cpu"), 4, work)


def test_an_optimizer_that_needs_whole_weights_is_refused() -> None:
    parameter: Any = torch.nn.Parameter(torch.zeros(2))
    parameter.full_tensor = None  # as a DTensor has it
    with pytest.raises(UserError, match="Rprop cannot update weights that are distributed"):
        TorchOptimizer(name="Rprop").build(weights=[Weight("w", parameter, "vector")])
