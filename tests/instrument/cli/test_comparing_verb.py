"""`compare` and `ablate` from the command line, on real trainings of moments. No times are tested."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from resnetbk.files import without_crc
from resnetbk_instrument.results.costs import COSTS
from resnetbk_instrument.session.journal import read_result

MUON = ("--set", "train.optimizer={ use = 'muon' }")
READING = "reading the texts and counting n-grams\n"
QUICK = ("--tolerance", "1e5", "--pairs", "2")
BUSY = """
    import time

    import attrs

    @attrs.frozen(kw_only=True)
    class Busy:
        chains: int = 8

        def build(self, *, width, depth):
            from torch import nn
            from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal

            mixer = BKCausal(chains=self.chains).build(width=width, depth=depth)
            mixer.register_forward_pre_hook(lambda *_: time.sleep(0.002))
            return mixer
"""


def trials(folder):
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def test_to_a_loss_the_same_work_done_slower_is_seen_as_that(call, tmp_path, specs, fake_plugin):
    fake_plugin(
        "busy",
        manifest="""
            schema = 1
            [sequence-mixer.busy]
            use = "busy.mixer:Busy"
            summary = "bk-causal that sleeps"
            provides = ["causal", "streaming", "any-length", "deterministic", "ragged"]
        """,
        modules={"mixer": BUSY},
    )
    a, _ = specs
    slow = tmp_path / "slow.toml"
    slow.write_text(a.read_text().replace('"a"', '"slow"').replace('"bk-causal"', '"busy"'))
    code, out, err = call("compare", a, slow, "--target-loss", 3.2, "--out", tmp_path / "out", *QUICK)
    assert code == 0
    for word in (
        "to 3.2 nats/token",
        "beside a",
        "at least",
        "less time",
        "7-gram counts",
        "2 rounds",
        "none; each ",
    ):
        assert word in out
    comparison = read_result(tmp_path / "out")
    a_variant, slow_variant = comparison.variants
    assert (a_variant.name, slow_variant.name) == ("a", "slow")
    assert a_variant.loss.estimate == slow_variant.loss.estimate  # the same seeds, the same numbers
    assert slow_variant.saved["flops"].estimate == pytest.approx(1.0)
    assert slow_variant.saved["tokens"].estimate == pytest.approx(1.0)
    assert set(slow_variant.saved) == set(COSTS)
    assert slow_variant.saved["inference_flops"].estimate == pytest.approx(1.0)
    assert slow_variant.spec["model"]["mixer"]["use"] == "busy"
    assert set(comparison.ngram_baseline) == {1, 2, 7}
    assert comparison.machine["torch"]
    assert comparison.command.startswith("resnetbk compare ")
    lines = trials(tmp_path / "out")
    assert len(lines) == len(comparison.trials)
    begun = ["reading the texts", "warming up a:", "warming up slow:", "calibrating", "search"]
    assert [line.startswith(word) for line, word in zip(err.splitlines(), begun, strict=False)] == [True] * 5
    for pair in (0, 1):  # a line a training
        assert err.count(f"round {pair + 1}/2 ") == sum(line["pair"] == pair for line in lines) >= 4
    assert {"forward", "backward", "optimizer"} <= set(lines[0]["outcome"]["phases"])
    assert [line["variant"] for line in lines if line["pair"] == 0] == ["a", "slow", "slow", "a"]
    assert [line["variant"] for line in lines if line["pair"] == 1] == ["slow", "a", "a", "slow"]


def test_at_equal_tokens_with_itself_nothing_is_gained(call, tmp_path, specs):
    a, b = specs
    out = tmp_path / "out"
    code, text, err = call("compare", a, a, "--equal", "tokens", "--out", out, "--json", *QUICK)
    assert code == 0
    assert err.startswith("note: a-2 is the same as a: what they differ by is noise\n")
    tree = json.loads(text)
    assert tree == without_crc((out / "result.json").read_bytes())
    first, second = tree["variants"]
    assert (first["name"], second["name"]) == ("a", "a-2")
    assert second["gained"] == {
        "estimate": 0.0, "low": "-Infinity", "high": "Infinity", "n": 2, "values": [0.0, 0.0],
    }  # fmt: skip
    assert tree["goal"]["budget"] == pytest.approx(20 * 2 * 16)
    assert "note" not in call("compare", a, b, "--equal", "tokens", "--dry-run")[2]
    assert {line["steps"] for line in trials(out) if line["pair"] >= 0} == {20}


def test_it_goes_on_where_it_was_and_refuses_another_plan(call, tmp_path, specs):
    a, b = specs
    arguments = ("compare", a, b, "--equal", "tokens", "--out", tmp_path / "out", *QUICK)
    assert call(*arguments)[0] == 0
    lines = trials(tmp_path / "out")
    code, _, err = call(*arguments)
    assert (code, err) == (
        2, f"{READING}{tmp_path / 'out'}: is not empty; go on with --resume, or choose another --out\n",
    )  # fmt: skip
    code, _, err = call(*arguments, "--resume")
    assert (code, err) == (0, READING)
    assert trials(tmp_path / "out") == lines
    code, _, err = call(*arguments, "--resume", "--set", "model.width=16")
    assert code == 2
    start = f"{tmp_path / 'out'}: the comparison has changed since it began: "
    assert f"{start}variants.a.spec.model.width: 8 -> 16\n" in err
    assert call(*arguments, "--resume", "--budget", "5000")[0] == 2
    code, _, err = call("compare", a, b, "--equal", "tokens", "--out", tmp_path / "none", "--resume")
    assert (code, "no comparison to resume" in err) == (2, True)
    assert not (tmp_path / "none").exists()


def test_a_dry_run_says_the_plan_and_writes_nothing(call, tmp_path, specs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, out, _ = call("compare", *specs, "--target-loss", 1.0, "--pairs", 3, "--dry-run")
    assert code == 0
    for word in ("own steps", "3 rounds with seeds 0 to 2", "a  ", "b  ", "20"):
        assert word in out
    code, out, _ = call("ablate", specs[1], *MUON, "--equal", "flops", "--dry-run", "--json")
    tree = json.loads(out)
    assert code == 0
    assert [variant["variant"] for variant in tree["variants"]] == [
        "base",
        "only embedding",
        "only optimizer",
        "all",
    ]
    assert tree["seconds"] > 0
    assert sorted(tmp_path.iterdir()) == before


def test_ablate_prints_a_row_a_factor(call, tmp_path, specs):
    out = tmp_path / "out"
    code, text, _ = call("ablate", specs[1], *MUON, "--equal", "tokens", "--out", out, *QUICK)
    assert code == 0
    for word in ("only embedding", "less loss", "alone", "in combination", "verdict", "adamw -> muon"):
        assert word in text
    comparison = read_result(out)
    assert [factor.name for factor in comparison.factors] == ["embedding", "optimizer"]
    assert comparison.whole == "all"
    assert all(factor.worth.combined.n == 2 for factor in comparison.factors)
    again = call("ablate", specs[1], *MUON, "--equal", "tokens", "--out", out, "--resume", "--json", *QUICK)
    assert json.loads(again[1]) == without_crc((out / "result.json").read_bytes())


def test_ablate_against_another_spec(call, tmp_path, specs):
    a, b = specs
    code, text, _ = call(
        "ablate", b, "--against", a, "--equal", "tokens", "--json", "--out", tmp_path / "o", *QUICK
    )
    assert code == 0
    tree = json.loads(text)
    assert [factor["what"] for factor in tree["factors"]] == ["table -> ngram-hash"]
    assert [variant["name"] for variant in tree["comparison"]["variants"]] == ["base", "all"]


def test_one_variant_has_settings_of_its_own_and_its_parent_run_is_told_apart(call, tmp_path, specs):
    a, _ = specs
    for name, steps in (("one", 2), ("two", 3)):
        assert call("train", a, "--set", f"train.steps={steps}", "--out", tmp_path / name)[0] == 0
    child = tmp_path / "child.toml"
    child.write_text(f'{a.read_text()}start = {{ use = "run", path = "{tmp_path / "one"}" }}\n')
    arguments = ("ablate", child, "--against", a, "--equal", "tokens", *QUICK)
    out, own = tmp_path / "out", ("--set-in", "all", f"train.start.path={tmp_path / 'two'}")
    code, text, _ = call(*arguments, *own, "--out", out)
    assert code == 0
    assert "not in the budget: the cost of the parent runs of all" in text
    assert "--set-in all train.start.path=" in read_result(out).comparison.command
    spent = {trial["variant"]: trial["outcome"]["parents_cost"].get("tokens") for trial in trials(out)}
    assert spent == {"base": None, "all": 3 * 2 * 16}
    code, _, err = call(*arguments, "--set-in", "al", "train.batch=2", "--out", tmp_path / "none")
    assert (code, err) == (2, "--set-in: there is no variant 'al'; did you mean 'all'?\n")
    assert not (tmp_path / "none").exists()


def test_other_tokenizers_are_compared_in_bits_per_byte(call, tmp_path, specs):
    a, _ = specs
    chars = tmp_path / "chars.toml"
    chars.write_text(a.read_text().replace('"a"', '"chars"').replace("[data]", '[data]\ntokenizer = "chars"'))
    code, out, _ = call("compare", a, chars, "--equal", "tokens", "--out", tmp_path / "out", *QUICK)
    assert code == 0
    assert "bits/byte" in out
    assert "counts" not in out


def test_an_interrupt_keeps_what_is_finished_and_says_how_to_go_on(tmp_path, specs):
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "resnetbk", "compare", *map(os.fspath, specs), "--equal", "tokens",
               "--out", os.fspath(folder), "--tolerance", "1e5"]  # fmt: skip
    with open(tmp_path / "err", "w+", encoding="utf-8") as err:
        process = subprocess.Popen([*command, "--pairs", "100000"], stderr=err, stdout=err)
        try:
            for _ in range(600):
                if process.poll() is not None or len(finished(folder)) > 5:
                    break
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)  # a test in the background would ignore SIGINT
            assert process.wait(timeout=60) == 143
        finally:
            process.kill()
    kept = len(trials(folder))
    said = (tmp_path / "err").read_text().splitlines()[-1]
    assert said == f"interrupted; finished trainings kept in {folder}: {kept}; --resume goes on"
    done = subprocess.run([*command, "--pairs", "2", "--resume"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(trials(folder)) >= kept


def finished(folder):
    file = folder / "trials.jsonl"
    return file.read_bytes().splitlines() if file.is_file() else []


def test_without_a_folder_each_comparison_gets_its_own_and_the_newest_is_resumed(
    call, tmp_path, specs, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = ("compare", *specs, "--equal", "tokens", *QUICK)
    assert call(*arguments)[0] == call(*arguments)[0] == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["compare-a-b", "compare-a-b-2"]
    code, out, err = call(*arguments, "--resume")
    assert (code, err) == (0, READING)
    assert "runs/compare-a-b-2" in out
