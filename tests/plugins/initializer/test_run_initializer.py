"""Transfer from a run: by name and shape, by token; what is not loaded is logged, nothing is half-loaded."""

import json
import shutil

import pytest
import tiny
import torch

from resnetbk.errors import StorageError, UserError
from resnetbk.model.assemble import assemble
from resnetbk.runs import checkpoint
from resnetbk.training.learner import Learner
from resnetbk_plugins.initializer.run import Run
from resnetbk_plugins.tokenizer.bytes import ByteTokenizer

ATTENTION = {"mixer": 'mixer = { use = "attention", heads = 2 }'}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A run of bytes at width 16, depth 2."""
    folder = tmp_path_factory.mktemp("source")
    return tiny.experiment(folder, steps="steps = 6", **ATTENTION).train(folder / "run")


def start_from(folder, parent, more: str = "", **changes: str) -> Learner:
    start = f'start = {{ use = "run", path = "{parent.folder.path}"{more} }}'
    return Learner(tiny.experiment(folder, **{**ATTENTION, "more": start, **changes}).spec)


def lines_of(caplog) -> str:
    return "\n".join(r.getMessage() for r in caplog.records if r.getMessage().startswith("start: "))


def test_everything_of_an_equal_model_is_loaded(tmp_path, parent, caplog):
    caplog.set_level("INFO", "resnetbk")
    learner = start_from(tmp_path, parent)
    for name, tensor in learner.model.state_dict().items():
        assert torch.equal(tensor, parent.model.state_dict()[name]), name
    lines = lines_of(caplog)
    assert "100.0%" in lines
    assert "fresh" not in lines
    assert "step 6" in lines
    assert learner.measure().loss == pytest.approx(parent.report.loss, abs=1e-6)


def test_its_cost_is_known_apart_and_adds_up_over_generations(tmp_path, parent):
    learner = start_from(tmp_path, parent)
    saved = checkpoint.load(checkpoint.latest(parent.folder.path)).state
    phases = [cost for phase, cost in saved["meter"]["costs"].items() if phase != "evaluation"]
    assert learner.parents_cost == {
        "seconds": pytest.approx(sum(cost["seconds"] for cost in phases)),
        "cpu_seconds": pytest.approx(sum(cost["cpu_seconds"] for cost in phases)),
        "flops": pytest.approx(sum(cost["flops"] for cost in phases)),
        "tokens": saved["tokens"],
    }
    start = f'start = {{ use = "run", path = "{parent.folder.path}" }}'
    child = tiny.experiment(tmp_path, steps="steps = 1", more=start, **ATTENTION).train(tmp_path / "child")
    state = checkpoint.load(checkpoint.latest(child.folder.path)).state
    assert state["source"] == learner.parents_cost
    own = sum(cost["flops"] for phase, cost in state["meter"]["costs"].items() if phase != "evaluation")
    assert start_from(tmp_path, child).parents_cost["flops"] == pytest.approx(
        learner.parents_cost["flops"] + own
    )


def test_vocabularies_meet_in_what_tokens_stand_for(tmp_path, parent, caplog):
    caplog.set_level("INFO", "resnetbk")
    corpus = tmp_path / "other.txt"
    corpus.write_text("the quick brown f\u00f6x " * 300)
    data = f'corpus = {{ use = "text", path = "{corpus}" }}\ntokenizer = "chars"'
    learner = start_from(tmp_path, parent, corpus=data)
    fresh = Learner(tiny.experiment(tmp_path, corpus=data, **ATTENTION).spec)
    alphabet = sorted(set(corpus.read_text()))
    for name in ("embedding.table.weight", "head.weight"):
        mine, theirs, built = (m.state_dict()[name] for m in (learner.model, parent.model, fresh.model))
        for token, character in enumerate(alphabet):
            code = character.encode()
            expected = theirs[code[0]] if len(code) == 1 else built[token]
            assert torch.equal(mine[token], expected), character
    assert f"{len(alphabet) - 1} of {len(alphabet)} tokens are in its vocabulary" in lines_of(caplog)


def test_what_counts_tokens_by_number_needs_the_same_tokens(tmp_path, caplog):
    caplog.set_level("INFO", "resnetbk")
    hashed = 'embedding = { use = "ngram-hash", rows = 32 }'
    parent = tiny.experiment(tmp_path, steps="steps = 3", embedding=hashed, **ATTENTION).train(
        tmp_path / "run"
    )
    name = "embedding.hashed.weight"
    assert parent.model.state_dict()[name].any()
    assert torch.equal(
        start_from(tmp_path, parent, embedding=hashed).model.state_dict()[name],
        parent.model.state_dict()[name],
    )
    corpus = f'corpus = {{ use = "text", path = "{tmp_path / "corpus.txt"}" }}\ntokenizer = "chars"'
    caplog.clear()
    other = start_from(tmp_path, parent, embedding=hashed, corpus=corpus)
    assert not other.model.state_dict()[name].any()
    assert f"about tokens, which differ: {name}" in lines_of(caplog)


def test_other_shapes_and_new_parts_start_fresh_and_are_named(tmp_path, parent, caplog):
    caplog.set_level("INFO", "resnetbk")
    changes = {"channel": 'channel = { use = "mlp", expansion = 3 }', "depth": "depth = 3"}
    learner = start_from(tmp_path, parent, **changes)
    fresh = Learner(tiny.experiment(tmp_path, **{**ATTENTION, **changes}).spec)
    for name, tensor in learner.model.state_dict().items():
        known = "channel.expand" not in name and "channel.output" not in name and "layers.2" not in name
        expected = (parent if known else fresh).model.state_dict()[name]
        assert torch.equal(tensor, expected), name
    lines = lines_of(caplog)
    assert "not in the parent run: trunk.layers.2." in lines
    assert "trunk.layers.0.channel.expand.weight (64, 16) in the parent run, (48, 16) here" in lines


def test_parts_load_alone(tmp_path, parent):
    learner = start_from(tmp_path, parent, ', parts = ["embedding"]')
    fresh = Learner(tiny.experiment(tmp_path, **ATTENTION).spec)
    for name, tensor in learner.model.state_dict().items():
        expected = parent if name.startswith("embedding.") else fresh
        assert torch.equal(tensor, expected.model.state_dict()[name]), name


def test_frozen_weights_stay_and_rates_scale_the_others(tmp_path, parent):
    more = (
        ', freeze = ["embedding", "trunk.layers.0.mixer"], rates = { "trunk" = 0.5, "trunk.layers.1" = 0.25 }'
    )
    learner = start_from(
        tmp_path, parent, more, optimizer='optimizer = { use = "adamw", decay = "constant" }'
    )
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    learner.learn()
    for name, tensor in learner.model.state_dict().items():
        frozen = name.startswith(("embedding.", "trunk.layers.0.mixer."))
        moved = float((tensor - before[name]).abs().max())
        layer = 0.25 if name.startswith("trunk.layers.1.") else 0.5 if name.startswith("trunk.") else 1.0
        # Adam's first step has the size of its learning rate
        assert moved == pytest.approx(0.0 if frozen else 3e-3 * layer, rel=0.05), name


def test_a_run_with_frozen_weights_resumes_bit_for_bit(tmp_path, parent):
    start = f'start = {{ use = "run", path = "{parent.folder.path}", freeze = ["embedding"] }}'
    trial = tiny.experiment(tmp_path, steps="steps = 4", more=f"{start}\nsave = 1\nkeep = 9", **ATTENTION)
    whole = trial.train(tmp_path / "whole")
    for stop in (0, 1, 3):
        folder = tiny.stopped(whole.folder.path, stop, tmp_path / f"stopped-{stop}")
        resumed = trial.train(folder, resume=True)
        pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def broken(run, how: str):
    last = run / "checkpoints" / (run / "LATEST").read_text().strip()
    if how == "damaged":
        file = last / "model.safetensors"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif how == "truncated":
        file = last / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-5])
    elif how == "no weights":
        (last / "model.safetensors").unlink()
    elif how == "no checkpoint":
        shutil.rmtree(run / "checkpoints")
    elif how == "no lock":
        (run / "spec.lock.toml").unlink()
    elif how == "lock of rubbish":
        (run / "spec.lock.toml").write_text("\x00 = =")
    elif how == "another's state":
        (last / "state.json").write_text(json.dumps({"state": {}}))
    elif how == "missing":
        shutil.rmtree(run)


@pytest.mark.parametrize(
    "how",
    [
        "damaged",
        "truncated",
        "no weights",
        "no checkpoint",
        "no lock",
        "lock of rubbish",
        "another's state",
        "missing",
    ],
)
def test_a_missing_or_damaged_parent_run_is_one_line_and_exit_4_and_loads_nothing(tmp_path, parent, how):
    run = tmp_path / "run"
    shutil.copytree(parent.folder.path, run)
    broken(run, how)
    model = assemble(parent.spec.model, vocabulary=256, seed=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(StorageError) as caught:
        Run(path=str(run)).build().initialize(model, ByteTokenizer(), 2)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert "run" in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_that_nothing_fits_is_one_line(tmp_path, parent):
    with pytest.raises(StorageError, match="nothing in it fits"):
        start_from(tmp_path, parent, ', parts = ["embedding"]', width="width = 8")


def test_names_and_settings_that_cannot_be_are_refused(tmp_path, parent):
    with pytest.raises(UserError) as caught:
        start_from(tmp_path, parent, ', freeze = ["embeding"], rates = { "trunk.layers.7" = 0.5 }')
    assert len(caught.value.mistakes) == 2
    assert "'embeding'; did you mean 'embedding'?" in str(caught.value)
    with pytest.raises(UserError, match="nothing to train"):
        start_from(tmp_path, parent, ', freeze = ["embedding", "trunk", "norm", "head"]')
    for wrong in ({"parts": ["heads"]}, {"parts": []}, {"rates": {"head": 0.0}}):
        with pytest.raises(ValueError, match=r"head|parts|rates"):
            Run(path="x", **wrong)
    with pytest.raises(ValueError, match="path"):
        Run(path="")
