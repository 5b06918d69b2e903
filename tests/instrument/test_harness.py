"""Runs in lm-evaluation-harness: its numbers are ours."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import tiny

TEXT = "the quick brown fox jumps over the lazy dog and runs away from it all day long"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return tiny.experiment(folder, steps="steps = 5").train(folder / "run")


@pytest.fixture(scope="module")
def model(run):
    pytest.importorskip("lm_eval")
    from resnetbk_instrument.harness import HarnessModel

    return HarnessModel(run, batch_size=3)


def asked(*arguments):
    return [SimpleNamespace(args=arguments)]


def test_a_whole_text_costs_what_its_losses_say(run, model) -> None:
    """A text begins after what stands for an empty context; windows are those of `losses`."""
    assert len(TEXT) > 2 * run.spec.data.window
    first = run.tokenizer.decode([model.eot_token_id])
    (total,) = model.loglikelihood_rolling(asked(TEXT))
    assert total == pytest.approx(-float(run.losses(first + TEXT.encode()).sum()), rel=1e-5)


def test_a_continuation_costs_what_the_whole_costs_more(run, model) -> None:
    window = run.spec.data.window
    context = TEXT[: window - 6].rstrip()  # the harness gives spaces at its end to what follows
    continuation = TEXT[len(context) : window]
    ((total, greedy),) = model.loglikelihood(asked(context, continuation))
    losses = run.losses(context + continuation)
    assert total == pytest.approx(-float(losses[len(context) - 1 :].sum()), rel=1e-4)
    assert not greedy


def test_a_long_context_is_cut_on_the_left(run, model) -> None:
    window = run.spec.data.window
    ((whole, _),) = model.loglikelihood(asked("zzzz" + TEXT[: window + 3], TEXT[window + 3]))
    ((cut, _),) = model.loglikelihood(asked(TEXT[3 : window + 3], TEXT[window + 3]))
    assert whole == pytest.approx(cut, rel=1e-5)


def test_a_batch_gives_what_each_gives_alone(model) -> None:
    texts = [("the ", "quick brown"), ("a", "b"), ("", "lazy dog"), ("over the lazy ", "d"), ("x", TEXT)]
    together = model.loglikelihood([SimpleNamespace(args=text) for text in texts])
    alone = [model.loglikelihood(asked(*text))[0] for text in texts]
    for (total, greedy), (own, own_greedy) in zip(together, alone, strict=True):
        assert total == pytest.approx(own, rel=1e-5)
        assert greedy == own_greedy


def test_what_greedy_generation_writes_is_greedy(run, model) -> None:
    (written,) = model.generate_until(asked("the qu", {"until": [], "max_gen_toks": 6}))
    assert written == b"".join(run.generate("the qu", 6, temperature=0.0)).decode()
    ((_, greedy),) = model.loglikelihood(asked("the qu", written))
    assert greedy
    (ended,) = model.generate_until(asked("the qu", {"until": [written[2:4]], "max_gen_toks": 6}))
    assert ended == written[: written.index(written[2:4])]


def test_the_verb_takes_tasks_of_ones_own(call, run, tmp_path, monkeypatch) -> None:
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    row = {"text": "the quick", "choices": [" brown fox", " zq"], "answer": 0}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "task.yaml").write_text(
        "task: of_ones_own\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}}}\n"
        "test_split: test\noutput_type: multiple_choice\n"
        "doc_to_text: '{{text}}'\ndoc_to_choice: '{{choices}}'\ndoc_to_target: '{{answer}}'\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    start = ("harness", run.folder.path, "--include", tmp_path)
    code, out, _ = call(*start, "--tasks", "of_ones_own", "--json")
    assert code == 0
    result = json.loads(out)["results"]["of_ones_own"]
    losses = [run.losses("the quick" + choice)[8:].sum() for choice in row["choices"]]
    assert result["acc,none"] == float(losses[0] < losses[1])
    code, _, err = call(*start, "--tasks", "of_nobody")
    assert code == 2
    assert "of_nobody" in err


def test_without_the_harness_it_says_what_to_install(call, run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    code, _, err = call("harness", run.folder.path, "--tasks", "x")
    assert (code, err) == (2, 'harness: needs the package lm_eval: pip install "resnetbk[harness]"\n')
