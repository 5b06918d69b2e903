"""Raw results survive what ends a comparison, and results come back as they were."""

from __future__ import annotations

import json
import math

import attrs
import pytest

from resnetbk.errors import StorageError, UserError
from resnetbk_instrument.results.comparison import (
    FAILED,
    Ablation,
    Comparison,
    Factor,
    Goal,
    Interval,
    Outcome,
    Trial,
    Variant,
    Worth,
)
from resnetbk_instrument.session.journal import SCHEMA, Journal, as_json, read_result

TRIAL = Trial(
    variant="a", pair=0, seed=7, steps=30, speed=(0.2, 0.21),
    outcome=Outcome(
        loss=1.9, bits_per_byte=2.7, parameters=12,
        costs={"seconds": 3.25, "cpu_seconds": 6.0, "flops": 1e12, "tokens": 3000},
        phases={"forward": 1.0}, peak_memory=4096,
    ),
)  # fmt: skip
DIVERGED = attrs.evolve(TRIAL, variant="b", outcome=FAILED, failed="diverges")
VARIANT = Variant(
    name="a", spec={"model": {"width": 16, "mixer": {"use": "x", "list": [1, "two"]}}}, parameters=12,
    loss=Interval(1.9, -math.inf, math.inf, 1), saved={"seconds": Interval(2.0, 1.5, 2.5, 5)},
)  # fmt: skip
COMPARISON = Comparison(
    name="x", goal=Goal(loss=1.9), variants=(VARIANT, attrs.evolve(VARIANT, name="b", refused="no")),
    trials=(TRIAL,), ngram_baseline={1: 3.3, 7: 1.5}, machine={"torch": "2"},
    command="resnetbk compare", thrown_out=2,
)  # fmt: skip
ABLATION = Ablation(
    comparison=COMPARISON, whole="all", left_out={"only x": "refused"},
    factors=(Factor(name="x", what="a -> b", worth=Worth(combined=Interval(1.2, 1.1, 1.3, 5)),
                    amortised={3: Worth(alone=Interval(1.1, 1.0, 1.2, 5))}, verdict="keep"),),
)  # fmt: skip


def test_trials_come_back_also_those_without_a_loss(tmp_path):
    journal = Journal(tmp_path)
    journal.add(TRIAL)
    journal.add(DIVERGED)
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["variant"] for line in lines] == ["a", "b"]
    back = Journal(tmp_path).trials
    assert back[0] == TRIAL
    assert math.isnan(back[1].outcome.loss)
    assert str(back[1]) == str(DIVERGED)  # NaN is not equal to itself


def test_a_round_that_is_thrown_out_stays_marked(tmp_path):
    journal = Journal(tmp_path)
    for pair in (-1, 0, 1):
        journal.add(attrs.evolve(TRIAL, pair=pair))
    journal.throw_out(0)
    assert [trial.kept for trial in Journal(tmp_path).trials] == [True, False, True]
    assert journal.of_round(0) == []


def test_a_line_cut_off_by_a_crash_is_dropped_at_every_byte(tmp_path):
    journal = Journal(tmp_path)
    journal.add(TRIAL)
    file = tmp_path / "trials.jsonl"
    line = file.read_bytes()
    for size in range(0, len(line), 7):
        file.write_bytes(line + line[:size])
        again = Journal(tmp_path)
        again.add(DIVERGED)
        assert [trial.variant for trial in Journal(tmp_path).trials] == ["a", "b"]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"variant": 3}', "[" * 100_000, "null"])
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / "trials.jsonl").write_text(line + "\n")
    with pytest.raises(StorageError, match=r"trials\.jsonl:1: damaged") as error:
        Journal(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("result", [COMPARISON, ABLATION])
def test_results_come_back_exactly(tmp_path, result):
    path = Journal(tmp_path).finish(result)
    assert read_result(path) == read_result(tmp_path) == result
    json.loads(path.read_text(), parse_constant=pytest.fail)  # no NaN or Infinity, which JSON has not
    assert as_json(result)["kind"] == type(result).__name__.lower()


def test_a_missing_or_damaged_result_is_said_in_a_line(tmp_path):
    with pytest.raises(UserError, match=r"no result of a comparison \(no result.json\)$"):
        read_result(tmp_path)
    Journal(tmp_path).begin({"schema": SCHEMA}, resume=False)
    with pytest.raises(UserError, match="--resume"):
        read_result(tmp_path)
    for text in ("", "[]", '{"schema": 9}', '{"schema": N}', '{"schema": N, "kind": "ablation"}'):
        (tmp_path / "result.json").write_text(text.replace("N", str(SCHEMA)))
        with pytest.raises(StorageError, match=r"result\.json: "):
            read_result(tmp_path)


def test_a_folder_of_another_version_is_said_to_be_one(tmp_path):
    Journal(tmp_path).begin({"schema": SCHEMA - 1}, resume=False)
    (tmp_path / "trials.jsonl").write_text('{"of": "another version"}\n')
    said = rf"plan\.json: schema {SCHEMA - 1}, of another version of resnetbk; this one reads {SCHEMA}$"
    with pytest.raises(StorageError, match=said):
        Journal(tmp_path)


def test_another_plan_is_not_resumed(tmp_path):
    plan = {"schema": SCHEMA, "goal": {"loss": 1.9}, "variants": {"a": {"spec": {"model": {"width": 16}}}}}
    Journal(tmp_path).begin(plan, resume=False)
    Journal(tmp_path).begin(plan, resume=True)
    other = {"schema": SCHEMA, "goal": {"loss": 1.8}, "variants": {"a": {"spec": {"model": {"width": 32}}}}}
    with pytest.raises(UserError) as error:
        Journal(tmp_path).begin(other, resume=True)
    start = f"{tmp_path}: the comparison has changed since it began: "
    assert str(error.value).splitlines() == [
        f"{start}goal.loss: 1.9 -> 1.8",
        f"{start}variants.a.spec.model.width: 16 -> 32",
    ]
