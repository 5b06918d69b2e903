"""Measures of difficulty: n-grams that leave each token out, and the loss of a reference run."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pupil
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import resnetbk
from resnetbk.errors import StorageError, UserError
from resnetbk.training.device import find_device
from resnetbk.training.learner import Learner
from resnetbk_plugins.data_selector import ngram
from resnetbk_plugins.data_selector.difficulty import MEASURES, difficulty, window_nats
from resnetbk_plugins.data_selector.layout import Layout
from resnetbk_plugins.data_selector.ngram import DISCOUNT, ngram_nats
from resnetbk_plugins.data_selector.reference import reference_losses
from resnetbk_plugins.data_selector.shuffle import Shuffle

LAYOUT = Layout(offset=0, window=32, count=len(pupil.TOKENS) // 32 - 1)


def plain(tokens: list[int], at: int, order: int) -> float:
    """The formula of `ngram` for one token, from counts of tuples."""
    if order == 0:
        return 1.0 / (1 + max(tokens))
    padded = [-1] * order + tokens
    grams = [tuple(padded[i - order + 1 : i + 1]) for i in range(order, len(padded))]
    own = grams.pop(at)
    lower = plain(tokens, at, order - 1)
    after = Counter(gram[-1] for gram in grams if gram[:-1] == own[:-1])
    ends = order > 1 and tuple(padded[len(padded) - order + 1 :]) == own[:-1]
    if not after:  # h occurs nowhere else; at the end of the text a successor is assumed
        return DISCOUNT * lower if ends else lower
    # c(h) counts that end, too
    seen = max(after[own[-1]] - DISCOUNT, 0.0)
    return (seen + DISCOUNT * len(after) * lower) / (sum(after.values()) + ends)


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.lists(st.integers(0, 3), min_size=8, max_size=60),
    order=st.integers(1, 4),
    chunk=st.sampled_from([5, 16, 100]),
)
def test_ngrams_are_what_the_formula_says(tokens: list[int], order: int, chunk: int) -> None:
    window, offset = 3, 1
    count = (len(tokens) - 1 - offset) // window
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngram, "CHUNK", chunk)
        patch.setattr(ngram, "TABLE_BITS", 16)
        text = np.array(tokens, np.uint8)
        actual = ngram_nats(text, offset=offset, window=window, count=count, order=order)
    targets = range(offset + 1, offset + 1 + count * window)
    nats = [-math.log(plain(tokens, at, order)) for at in targets]
    np.testing.assert_allclose(actual, np.reshape(nats, (-1, window)).mean(1), rtol=1e-5)


def test_text_that_occurs_once_is_not_easy_by_its_own_counts() -> None:
    noise = np.random.default_rng(2).integers(0, 64, 8000).astype(np.uint8)
    layout = Layout(offset=3, window=40, count=190)
    assert window_nats(noise, layout).min() > math.log(64) - 0.1


def test_a_full_table_is_only_less_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = window_nats(pupil.TOKENS, LAYOUT)
    monkeypatch.setattr(ngram, "TABLE_BITS", 13)
    crowded = window_nats(pupil.TOKENS, LAYOUT)
    assert np.isfinite(crowded).all()
    assert (crowded >= 0).all()
    kinds = pupil.kinds(LAYOUT.windows(np.arange(LAYOUT.count)))
    order = [crowded[kinds == kind].mean() for kind in range(3)]
    assert order == sorted(order)
    assert exact.shape == crowded.shape


@pytest.mark.parametrize("measure", [m for m in MEASURES if m != "loss"])
def test_noise_is_harder_than_words_and_words_than_a_pattern(measure: str, tmp_path) -> None:
    """From a file that is mapped, as from memory."""
    pupil.TOKENS.tofile(tmp_path / "tokens")
    mapped = np.memmap(tmp_path / "tokens", np.uint8, "r")
    (hard, sources), (same, _) = (
        difficulty(tokens, LAYOUT, measure, "") for tokens in (mapped, pupil.TOKENS)
    )
    np.testing.assert_array_equal(hard, same)
    assert sources == {}
    assert hard.dtype == np.float32
    kinds = pupil.kinds(LAYOUT.windows(np.arange(LAYOUT.count)))
    easy, learnable, noise = (hard[kinds == kind] for kind in range(3))
    assert np.quantile(easy, 0.95) < np.quantile(learnable, 0.05)
    assert np.quantile(learnable, 0.95) < np.quantile(noise, 0.05)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run of few steps, and its training text."""
    folder = tmp_path_factory.mktemp("reference")
    return tiny.experiment(folder, steps="steps = 3").train(folder / "run")


def test_a_references_losses_are_its_own_and_leave_torchs_generator_alone(reference) -> None:
    tokens = reference.data().train
    layout = Layout.like(Shuffle().build(tokens=tokens, window=16, batch=4, seed=0))
    before = torch.get_rng_state()
    losses, sources = reference_losses(tokens, layout, str(reference.folder.path))
    (cost,) = sources.values()
    assert cost["tokens"] == reference.report.tokens
    assert cost["flops"] == reference.report.flops
    assert torch.equal(before, torch.get_rng_state())
    windows = layout.windows(np.arange(3))
    index = torch.from_numpy(windows.starts[:, None] + np.arange(17))
    inputs = torch.from_numpy(tokens.astype(np.int64))[index]
    logits = reference.model(inputs[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), inputs[:, 1:], reduction="none")
    np.testing.assert_allclose(losses[:3], expected.mean(1).detach().numpy(), rtol=1e-4)


def test_a_reference_runs_where_the_training_does(reference, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    path = reference.folder.path
    chosen = f'selector = {{ use = "curriculum", measure = "loss", reference = "{path}" }}'
    learner = Learner(resnetbk.load(tiny.write_spec(tmp_path, selector=chosen)).spec, device="cpu")
    assert next(learner.model.parameters()).device.type == "cpu"
    assert find_device().type == "cuda"  # only while it was built


def test_a_references_passes_are_charged_to_the_setup(reference, tmp_path) -> None:
    path = reference.folder.path
    spec = tiny.write_spec(
        tmp_path, selector=f'selector = {{ use = "curriculum", measure = "loss", reference = "{path}" }}'
    )
    loss = Learner(resnetbk.load(spec).spec)
    by_count = Learner(resnetbk.load(spec, sets=["data.selector=curriculum"]).spec)
    begun = f'train.start={{ use = "run", path = "{path.parent / ".." / path.parent.name / path.name}" }}'
    assert (
        Learner(resnetbk.load(spec, sets=[begun]).spec).parents_cost == loss.parents_cost
    )  # one run, charged once
    assert loss.parents_cost["tokens"] == reference.report.tokens
    assert by_count.parents_cost == {}
    windows = loss.selector.layout.count
    loss.learn()
    forward = loss.read()[0][0].flops - loss.meter.phases()["setup"].flops
    spent = loss.meter.phases()["setup"].flops - by_count.meter.phases()["setup"].flops
    assert spent > 0.5 * windows / 4 * forward / 3  # a step of 4 windows: forward and twice that backward


def test_a_reference_of_another_tokenizer_is_refused_in_one_line(reference, tmp_path) -> None:
    path = reference.folder.path
    spec = tiny.write_spec(
        tmp_path, selector=f'selector = {{ use = "curriculum", measure = "loss", reference = "{path}" }}'
    )
    with pytest.raises(UserError, match=r"the same data\.tokenizer") as caught:
        Learner(resnetbk.load(spec, sets=["data.tokenizer=chars"]).spec)
    assert "\n" not in str(caught.value)


def test_a_reference_that_is_not_there_is_refused_in_one_line(tmp_path) -> None:
    with pytest.raises(StorageError, match=r"data\.selector: .*no such run") as caught:
        reference_losses(pupil.TOKENS, LAYOUT, str(tmp_path / "none"))
    assert "\n" not in str(caught.value)
