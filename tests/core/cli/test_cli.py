"""The verbs, as a person or a script calls them: what they print and what they end with."""

from __future__ import annotations

import json
import sys

import pytest
import tiny
from checkpoints import reseal

from resnetbk.kinds import KINDS


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    tiny.experiment(folder, steps="steps = 30").train(folder / "run")
    return folder / "run"


def test_list_names_every_component_with_its_key(call):
    code, out, err = call("list")
    assert (code, err) == (0, "")
    for word in ("bk-causal", "attention", "never", "model.mixer", "train.observe"):
        assert word in out


def test_list_as_json_covers_every_kind(call):
    code, out, _ = call("list", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {row["kind"] for row in rows} - {"verb"} == set(KINDS)
    defaults = {
        row["name"]
        for row in rows
        if row["default"] and row["kind"] in KINDS and KINDS[row["kind"]].innovation
    }
    assert defaults == {"never", "flat", "open", "shuffle", "backprop"}


def test_list_of_one_kind_and_of_none(call):
    code, out, _ = call("list", "tokenizer")
    assert code == 0
    assert "chars" in out
    assert "attention" not in out
    code, out, err = call("list", "tokeniser")
    assert (code, out) == (2, "")
    assert err == "no kind 'tokeniser'; did you mean 'tokenizer'?\n"


def test_show_a_component(call):
    code, out, _ = call("show", "bk-causal")
    assert code == 0
    for word in ("model.mixer", "chains", "128", "streaming"):
        assert word in out
    assert call("show", "resnetbk/bk-causal")[1] == out


def test_show_an_unknown_component(call):
    code, _, err = call("show", "bk-casual")
    assert code == 2
    assert err == "no component or verb 'bk-casual'; did you mean 'bk-causal'?\n"


def test_show_a_spec_writes_every_default_and_reads_back(call, tmp_path):
    code, out, _ = call("show", tiny.write_spec(tmp_path), "--set", "model.width=24")
    assert code == 0
    assert "width = 24" in out
    (tmp_path / "again.toml").write_text(out)
    assert call("show", tmp_path / "again.toml")[1] == out


def test_check_says_what_is_not_installed(call, tmp_path, monkeypatch):
    spec = tiny.write_spec(tmp_path, observe='observe = ["wandb"]')
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, out, err = call("check", spec)
    assert (code, out) == (0, f"{spec}: ok\n")
    said = 'train.observe[0]: wandb needs wandb, which is not installed: pip install "resnetbk[wandb]"'
    assert err == f"{spec}: {said}\n"


def test_check_says_all_mistakes_of_all_files(call, tmp_path):
    good = tiny.write_spec(tmp_path)
    bad = tmp_path / "bad.toml"
    bad.write_text(good.read_text().replace("chains = 8", "chans = 8").replace("width = 16", 'width = "16"'))
    code, out, err = call("check", good, bad)
    assert code == 2
    assert out == f"{good}: ok\n"
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{bad}:7: model.width: ")
    assert lines[1] == f"{bad}:9: model.mixer: unknown key 'chans'; did you mean 'chains'?"


def test_train_measures_and_writes(call, tmp_path):
    spec = tiny.write_spec(tmp_path, observe='observe = ["progress", "jsonl"]')
    code, out, err = call("train", spec, "--out", tmp_path / "run", "--set", "train.steps=5")
    assert code == 0
    for word in ("run", "bits/byte", "tokens/s", "first line"):
        assert word in out
    assert "step 5" in err
    code, _, err = call("train", spec, "--out", tmp_path / "run", "--set", "train.steps=5")
    assert code == 2
    assert "--resume" in err
    again = call("train", spec, "--out", tmp_path / "run", "--set", "train.steps=5", "--resume")
    assert again[0] == 0
    same, whole = (said.partition("\nwhole process ") for said in (again[1], out))
    assert same[0] == whole[0]


def test_eval_of_a_run_and_of_another_corpus(call, trained, tmp_path):
    code, out, _ = call("eval", trained, "--json")
    assert code == 0
    here = json.loads(out)
    assert here["tokens"] > 100
    other = tmp_path / "other.txt"
    other.write_text("zyx wvu tsr qpo nml kji hgf edc ba. " * 40)
    code, out, _ = call("eval", trained, "--json", "--set", f"data.corpus.path={other}")
    assert code == 0
    assert json.loads(out)["loss"] > here["loss"] + 0.1


def test_generate_is_the_same_for_the_same_seed(call, trained):
    arguments = ("generate", trained, "--prompt", "the quick", "--tokens", "40", "--seed")
    first, again, other = call(*arguments, 3), call(*arguments, 3), call(*arguments, 4)
    assert first[0] == 0
    assert first[1].startswith("the quick")
    assert first == again != other
    greedy = [call(*arguments, seed, "--temperature", "0")[1] for seed in (1, 2)]
    assert greedy[0] == greedy[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trian", "x"), "no verb 'trian'; did you mean 'train'?"),
        (("train",), "Missing argument 'SPEC'"),
        (("train", "missing.toml"), "missing.toml"),
        (("eval", "runs/none"), "runs/none"),
        (("generate", "runs/none", "--prompt", "a"), "runs/none"),
        (("generate", "runs/none"), "--prompt"),
        (("--registry", "none.toml", "list"), "none.toml"),
        (("--block", "resnetbkk", "list"), "did you mean 'resnetbk'"),
        (("train", "x.toml", "--device", "tpu"), "--device"),
        (("eval", "runs/none", "--set", "model.norm=layer"), "only data.* can change"),
        (("generate", "x", "--tokens", "-1"), "--tokens"),
        (("list", "--jason"), "--jason"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_an_empty_prompt_is_refused(call, trained):
    code, _, err = call("generate", trained, "--prompt", "")
    assert code == 2
    assert "prompt" in err


def test_damage_ends_with_exit_code_4(call, trained, tmp_path):
    run = tiny.copy_run(trained, tmp_path / "run")
    state = next(run.glob("checkpoints/*/state.json"))
    state.write_text(state.read_text().replace("{", "[", 1))
    code, _, err = call("generate", run, "--prompt", "the")
    assert code == 4
    assert "state.json" in err
    assert len(err.splitlines()) == 1


def test_a_run_says_what_is_no_longer_as_it_was_trained(call, trained, tmp_path, caplog):
    run = tiny.copy_run(trained, tmp_path / "run")
    lock = run / "spec.lock.toml"
    call("eval", run)
    assert not caplog.messages
    here = 'version = "'
    before, _, after = lock.read_text().partition('[components."model.mixer"]')
    lock.write_text(f'{before}[components."model.mixer"]{after.replace(here, f"{here}0.0.", 1)}')
    reseal(run)
    assert call("eval", run)[0] == 0
    (message,) = caplog.messages
    assert "trained with other components than are here" in message
    assert "model.mixer resnetbk 0.0." in message
