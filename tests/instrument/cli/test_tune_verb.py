"""`tune` from the command line."""

from __future__ import annotations

import json
import sys

import pytest
import tiny

from resnetbk.registry.lookup import Registry
from resnetbk_instrument.tuning.ranges import SearchSpace, search_spaces

pytest.importorskip("optuna", minversion="4")

RATE = "train.optimizer.lr=1e-3:1e-1:log"


@pytest.fixture
def specs(tmp_path):
    return tiny.mixers(tmp_path)


def test_the_verb_says_tables_or_json(call, specs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    command = ("tune", *specs, "--range", RATE, "--range", "tiny:model.norm=rms,layer", "--trials", 2)
    code, out, err = call(*command)
    assert code == 0, err
    assert err.startswith("reading the texts\n")
    assert err.count("\n") == 1 + 4
    assert "tiny: trial 1 of 2, " in err
    assert len([line for line in out.splitlines() if line.count(" nats/token") == 2]) == 2
    for word in ("train.optimizer.lr", "0.001 to 0.1, log", '"rms", "layer"', "best quarter", "as written"):
        assert word in out
    assert "tiny: its best settings are in tuned/tiny/tiny-tuned.toml" in out
    text = (tmp_path / "tuned/tiny/attn-tuned.toml").read_text()
    assert f"# resnetbk tune {specs[0]} {specs[1]} --range {RATE} --range tiny:model.norm=rms,layer" in text
    code, out, err = call(*command, "--json")
    assert (code, err) == (0, "reading the texts\n")  # all trials were done
    first, second = json.loads(out)
    assert (first["name"], second["name"], first["trials"]) == ("tiny", "attn", 2)
    assert first["tuned"] == "tuned/tiny/tiny-tuned.toml"
    assert set(first["values"]) == {"train.optimizer.lr", "model.norm"}


def test_an_arm_that_always_diverges_ends_with_its_own_code(call, specs, tmp_path):
    out = tmp_path / "out"
    code, said, err = call(
        "tune", *specs, "--range", f"{specs[0]}:train.optimizer.lr=9e37,1e38", "--range", f"attn:{RATE}",
        "--trials", 2, "--set", "train.steps=6", "--out", out,
    )  # fmt: skip
    assert code == 3
    assert err.endswith(f"tiny: none of 2 trials gave a loss; see {out}/trials.jsonl\n")
    assert (out / "attn-tuned.toml").exists()
    assert not (out / "tiny-tuned.toml").exists()
    assert "attn: its best settings" in said


def test_without_optuna_it_says_how_to_get_it(call, specs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = call("tune", specs[0], "--range", RATE, "--out", tmp_path / "out")
    assert (code, err) == (2, 'reading the texts\ntune searches with optuna: pip install "resnetbk[tune]"\n')
    assert not (tmp_path / "out").exists()


def test_mistakes_are_said_before_anything_runs(call, specs, tmp_path):
    code, _, err = call("tune", *specs, "--range", "train.optimizer.l=1:2", "--out", tmp_path / "out")
    assert code == 2
    assert err == "--range train.optimizer.l=1:2: train.optimizer: unknown key 'l'; did you mean 'lr'?\n"
    assert not (tmp_path / "out").exists()
    assert isinstance(search_spaces(specs, [RATE], Registry.discover())[0], SearchSpace)
