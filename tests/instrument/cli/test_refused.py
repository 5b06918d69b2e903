"""Comparisons that are refused: one line, and nothing left behind but what is worth keeping."""

from __future__ import annotations

import pytest

from resnetbk.training.signals import Interrupted
from resnetbk_instrument.session import runner
from resnetbk_instrument.session import session as compare
from resnetbk_instrument.session.budget import AtBudget
from resnetbk_instrument.session.journal import Journal
from resnetbk_instrument.session.session import Session

QUICK = ("--tolerance", "1e5", "--pairs", "2")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "A", "--target-loss", "1"), "two specs or more"),
        (("compare", "A", "B"), "--target-loss L, or one of --equal"),
        (
            ("compare", "A", "B", "--target-loss", "1", "--equal", "tokens"),
            "--target-loss L, or one of --equal",
        ),
        (("compare", "A", "B", "--target-accuracy", "0.9", "--target-loss", "1"), "equal what?"),
        (("compare", "A", "B", "--target-accuracy", "0.9"), "which has no labels; give --target-loss"),
        (("compare", "A", "B", "--target-accuracy", "1.1"), "--target-accuracy"),
        (("compare", "A", "B", "--target-loss", "nan"), "--target-loss: a number above 0"),
        (("compare", "A", "B", "--target-loss", "1", "--budget", "9"), "together with --equal"),
        (("compare", "A", "B", "--equal", "tokens", "--budget", "-1"), "--budget: a number above 0"),
        (("compare", "A", "B", "--equal", "tokens", "--pairs", "0"), "--pairs"),
        (("compare", "A", "B", "--equal", "tokens", "--tolerance", "nan"), "--tolerance: a number below"),
        (("compare", "A", "B", "--target-loss", "1", "--reach", "inf"), "--reach: a number below"),
        (("compare", "A", "OTHER", "--equal", "tokens"), "learns from another text than a"),
        (("compare", "A", "none.toml", "--equal", "tokens"), "none.toml"),
        (("compare", "A", "B", "--target-loss", "50"), "ask for a lower loss"),
        (("ablate", "A", "--against", "A", "--equal", "tokens"), "does not differ from"),
        (("ablate", "A", "--against", "OTHER", "--equal", "tokens"), "data.corpus: differs"),
    ],
)
def test_mistakes_are_one_line(call, tmp_path, specs, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").write_text("another text, of other words. " * 300)
    other = specs[0].read_text().replace("corpus.txt", "other.txt").replace('"a"', '"other"')
    (tmp_path / "other.toml").write_text(other)
    files = {"A": specs[0], "B": specs[1], "OTHER": tmp_path / "other.toml"}
    code, out, err = call(*(files.get(word, word) for word in arguments))
    last = err.splitlines()[-1]
    assert (code, out) == (2, "")
    assert words in last


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (("--target-loss", "50"), "ask for a lower loss"),
        (("--equal", "tokens", "--budget", "40"), "--budget buys 1 steps of a; 10 are the least"),
        (("--equal", "tokens", "--set", "train.steps=9"), "what a spends by its own spec buys 9 steps of a"),
    ],
)
def test_a_refusal_before_the_rounds_leaves_nothing(call, tmp_path, specs, goal, words, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
    code, text, err = call("compare", *specs, *goal, "--out", out, *QUICK)
    assert (code, text) == (2, "")
    assert words in err.splitlines()[-1]
    assert str(out) not in err
    assert out.exists() == there
    assert not there or list(out.iterdir()) == []


def test_a_dry_run_refuses_the_budget_that_the_real_one_refuses(call, specs):
    command = ("compare", *specs, "--equal", "tokens", "--budget", "40")
    dry = call(*command, "--dry-run")
    assert dry[:2] == (2, "")
    assert dry[2].splitlines()[-1] == call(*command, *QUICK)[2].splitlines()[-1]
    assert call("compare", *specs, "--equal", "tokens", "--budget", "320", "--dry-run")[0] == 0


def test_rounds_that_were_thrown_out_are_kept_and_resumed(call, tmp_path, specs, monkeypatch):
    out = tmp_path / "out"
    command = ("compare", *specs, "--equal", "tokens", "--pairs", "1", "--out", out)
    with monkeypatch.context() as patch:
        patch.setattr(AtBudget, "fault", lambda self, pair: "b spends 2.00 of the budget")
        code, _, err = call(*command)
    assert code == 2
    last = err.splitlines()[-1]
    assert last.startswith("no round counts; ")
    assert "go on with --resume" in last
    assert last.endswith(f"; its trainings are in {out}")
    kept = len(Journal(out).trials)
    assert call(*command, "--tolerance", "1e5", "--resume")[0] == 0
    assert len(Journal(out).trials) == kept + 2


@pytest.mark.parametrize("trained", [0, 1])
def test_an_interrupt_keeps_what_was_trained_and_no_empty_folder(call, tmp_path, specs, monkeypatch, trained):
    out, made = tmp_path / "out", runner.runner

    def interrupted(*arguments):
        train, calls = made(*arguments), []

        def one(spec, seed, steps):
            if steps > compare.WARM_UP:
                calls.append(steps)
            if len(calls) > trained:
                raise Interrupted(15, "")
            return train(spec, seed, steps)

        return one

    monkeypatch.setattr(runner, "runner", interrupted)
    code, _, err = call("compare", *specs, "--equal", "tokens", "--out", out, *QUICK)
    assert code == 143
    said = (f"finished trainings kept in {out}: 1; --resume goes on", "nothing was trained yet")[not trained]
    assert err.splitlines()[-1] == f"interrupted; {said}"
    assert out.exists() == bool(trained)


def test_an_error_of_ours_keeps_what_was_trained(call, tmp_path, specs, monkeypatch):
    def broken(session):
        session.policy.search("a", lambda steps: session._get("search", "a", -1, steps))
        raise ZeroDivisionError

    monkeypatch.setattr(Session, "run", broken)
    assert call("compare", *specs, "--equal", "tokens", "--out", tmp_path / "out", *QUICK)[0] == 1
    assert len(Journal(tmp_path / "out").trials) == 2


def test_a_dry_run_names_the_spec_that_diverges(call, specs):
    command = ("compare", *specs, "--equal", "tokens", "--dry-run", "--set", "train.optimizer.lr=1e38")
    code, out, err = call(*command)
    assert (code, out) == (3, "")
    assert err.splitlines()[:2] == [
        "reading the texts and counting n-grams", "warming up a: its first steps",
    ]  # fmt: skip
    assert err.splitlines()[2:] == ["a: diverges within 4 steps: step 1: the weights are not finite"]
