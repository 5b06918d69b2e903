"""How a next token is chosen, and where a text ends."""

from __future__ import annotations

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

import resnetbk
from resnetbk.errors import NumericError, UserError
from resnetbk.training.sampling import Sampling, until

SHARES = torch.tensor([0.5, 0.3, 0.15, 0.05])


def drawn(sampling: Sampling, times: int = 400) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    logits = SHARES.log().expand(times, -1)
    return set(sampling.choose(logits, generator).tolist())


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.94, 3), (1.0, 4)])
def test_top_p_keeps_the_fewest_that_have_that_probability(top_p, kept) -> None:
    assert drawn(Sampling(temperature=1.0, top_p=top_p)) == set(range(kept))


def test_top_p_goes_by_the_shares_at_the_temperature() -> None:
    assert drawn(Sampling(temperature=0.2, top_p=0.9)) == {0}


def test_each_text_of_a_batch_keeps_its_own() -> None:
    logits = torch.stack((SHARES.log(), SHARES.flip(0).log()))
    chosen = Sampling(temperature=1.0, top_p=0.4).choose(logits, torch.Generator())
    assert chosen.tolist() == [0, 3]
    assert Sampling(temperature=0.0).choose(logits, torch.Generator()).tolist() == [0, 3]


def test_top_k_and_top_p_together_keep_what_both_keep() -> None:
    assert drawn(Sampling(temperature=1.0, top_k=3, top_p=0.999)) == {0, 1, 2}


def test_scores_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(NumericError):
        Sampling().choose(torch.tensor([[0.0, float("nan")]]), torch.Generator())


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 2.0}],
)
def test_what_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(UserError):
        Sampling(**wrong)


@given(st.lists(st.binary(max_size=3)), st.lists(st.binary(min_size=1, max_size=4), max_size=3))
def test_a_text_ends_before_the_first_stop_wherever_it_is_torn(pieces, stops) -> None:
    whole = b"".join(pieces)
    ends = [whole.find(stop) for stop in stops if stop in whole]
    assert b"".join(until(pieces, stops)) == whole[: min(ends, default=len(whole))]


def test_nothing_is_held_back_without_a_stop() -> None:
    pieces = iter([b"a", b"b"])
    assert next(until(pieces, [])) == b"a"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return tiny.experiment(folder, steps="steps = 3").train(folder / "run")


def test_a_batch_at_temperature_0_is_the_single_text_each_time(run) -> None:
    one = b"".join(run.generate("the ", 12, temperature=0.0))
    assert run.samples("the ", 3, 12, temperature=0.0) == [one] * 3


def test_texts_of_a_batch_differ(run) -> None:
    assert len(set(run.samples("the ", 4, 12, temperature=2.0))) == 4
    assert run.samples("the ", 2, 0) == [b"", b""]


def test_the_verb_prints_them_all_and_ends_at_a_stop(call, run, tmp_path) -> None:
    (tmp_path / "prompt").write_text("the ")
    start = ("generate", run.folder.path, "--prompt-file", tmp_path / "prompt", "--tokens", "30")
    whole = call(*start, "--temperature", "0")[1]
    stop = whole[10:12]
    ended = call(*start, "--temperature", "0", "--stop", stop)[1]
    assert ended == whole[: whole.index(stop, 4)] + "\n"
    several = call(*start, "--num-samples", "2")[1]
    assert several.startswith("--- 1 of 2 ---\nthe ")
    assert "--- 2 of 2 ---\nthe " in several


def test_one_prompt_is_asked_for(call, run) -> None:
    said = (2, "", "which prompt? give --prompt TEXT or --prompt-file FILE\n")
    assert call("generate", run.folder.path) == said
    assert call("generate", run.folder.path, "--prompt", "a", "--prompt-file", __file__) == said
    code, _, err = call("generate", run.folder.path, "--prompt", "")
    assert (code, err) == (2, "the prompt is empty; a model needs a first token to go on from\n")


def test_opened_runs_stand_on_the_device_that_is_asked_for(run) -> None:
    with pytest.raises(UserError, match="no MPS device"):
        type(run).open(run.folder.path, run.registry, device="mps")
    assert resnetbk.open_run(run.folder.path).model.embedding.weight.device.type == "cpu"
