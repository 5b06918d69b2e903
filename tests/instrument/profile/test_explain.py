"""What a run spends where on a text: numbers that are known beforehand, and a page that says them all."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import synthetic
import tiny
import torch

import resnetbk
from resnetbk.errors import NumericError, UserError
from resnetbk.kinds import Stack
from resnetbk.registry.lookup import Registry
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.run import Run
from resnetbk_instrument.pages.explain import explain_page
from resnetbk_instrument.profile import explain as module
from resnetbk_instrument.profile.explain import as_json, explain
from resnetbk_plugins.tokenizer.chars import CharTokenizer

ALPHABET = "abcdefghij\n"
WINDOW, DEPTH = 16, 4
TEXT = ("abcdefghij\n" * 6)[: 3 * WINDOW + 5]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return resnetbk.load(tiny.write_spec(tmp_path_factory.mktemp("spec"))).spec


@pytest.fixture
def run(spec, tmp_path):
    """A run of a model whose policies are as asked for, over an alphabet of 11 characters."""

    def make(**policies) -> Run:
        tokenizer = CharTokenizer(np.array([ord(character) for character in sorted(ALPHABET)], dtype="<u4"))
        model = synthetic.build(depth=DEPTH, **policies).eval()
        return Run(RunFolder(tmp_path), spec, Registry.discover(), model, tokenizer)

    return make


@torch.inference_mode()
def oracle(run: Run, text: str) -> list[float]:
    """The loss of every token but the first, a window at a time."""
    tokens = torch.from_numpy(run.tokenizer.encode(text.encode()).astype(np.int64))
    losses = []
    for start in range(0, len(tokens), WINDOW):
        logits = run.model(tokens[None, start : start + WINDOW]).logits[0].log_softmax(-1)
        for i, scores in enumerate(logits[: len(tokens) - 1 - start]):
            losses.append(-float(scores[tokens[start + i + 1]]))
    return losses


def test_layers_and_losses_of_every_token_are_those_of_its_window(run):
    depths = (1, 2, 4, 3, 0)
    made = run(halting=synthetic.Depth(depths))
    result = explain(made, TEXT.encode(), "it")
    assert b"".join(result.pieces) == TEXT.encode()
    assert result.layers.tolist() == [depths[i % WINDOW % 5] for i in range(len(TEXT))]
    assert math.isnan(result.losses[0])
    assert result.losses[1:].tolist() == pytest.approx(oracle(made, TEXT), abs=1e-6)
    assert result.loss == pytest.approx(sum(oracle(made, TEXT)) / (len(TEXT) - 1), abs=1e-6)
    assert result.bits_per_byte == pytest.approx(result.loss / math.log(2))  # a byte a character here
    assert result.left_out == 0


def test_rows_by_layer_and_the_share_of_dense_work(run):
    result = explain(run(halting=synthetic.Depth((1, 2, 4, 3, 0))), TEXT.encode(), "it")
    ran = [sum(layers > number for layers in result.layers) for number in range(DEPTH)]
    assert [layer.mixer for layer in result.rows] == [layer.channel for layer in result.rows] == ran
    assert {layer.present for layer in result.rows} == {len(TEXT)}
    assert result.share == pytest.approx(result.layers.mean() / DEPTH)


def test_a_gate_over_half_a_layer_counts_half(run):
    gate = synthetic.Every(every=2, scope="channel")
    result = explain(run(gate=gate), TEXT.encode(), "it")
    assert {layer.mixer for layer in result.rows} == {len(TEXT)}
    odd = len(TEXT) // 2  # of positions from 0 on, in windows of an even length
    assert [layer.channel for layer in result.rows] == [len(TEXT) - odd, odd] * 2
    assert set(result.layers.tolist()) == {3.0}  # of four mixers and, at every place, two channel mixers
    assert 0.74 < result.share < 0.76
    strip = result.strips[1]
    assert strip.mixer.all()
    assert strip.channel.tolist() == [position % 2 == 1 for position in range(WINDOW)]


@pytest.mark.parametrize("skewed", [False, True])
def test_coarse_layers_have_the_rows_of_their_scale(run, skewed):
    stacks = (Stack(0, (0,)), Stack(1, (1, 2)), Stack(0, (3,)))
    scheduler = synthetic.Strided(stacks, factor=3, skewed=skewed)
    result = explain(run(resolution=scheduler), TEXT.encode(), "it")
    present = [layer.present for layer in result.rows]
    assert present[0] == present[3] == len(TEXT)
    assert present[1] == present[2] < len(TEXT) / 2
    assert [layer.mixer for layer in result.rows] == present
    assert result.layers.tolist() == [DEPTH] * len(TEXT)  # a coarse row speaks for its tokens
    assert result.share == pytest.approx(sum(present) / DEPTH / len(TEXT))
    assert len(result.strips[1].position) < WINDOW / 2
    if not skewed:
        assert result.strips[1].position.tolist() == list(range(0, WINDOW, 3))


def test_groups_tell_what_was_spent_on_what(run):
    result = explain(run(halting=synthetic.Depth((1, 3))), TEXT.encode(), "it")
    one, three = result.groups()
    assert (one.layers, three.layers) == (1.0, 3.0)
    assert one.tokens + three.tokens == len(TEXT)
    assert one.loss == pytest.approx(np.nanmean(result.losses[result.layers == 1]))
    after = np.append(result.losses[1:], math.nan)
    assert three.next == pytest.approx(np.nanmean(after[result.layers == 3]))
    own, following = result.correlations()
    assert own == pytest.approx(np.corrcoef(result.layers[1:], result.losses[1:])[0, 1])
    assert following == pytest.approx(np.corrcoef(result.layers[:-1], result.losses[1:])[0, 1])


def test_where_nothing_skips_there_is_no_correlation(run):
    result = explain(run(), TEXT.encode(), "it")
    assert all(map(math.isnan, result.correlations()))
    assert result.share == 1
    tree = as_json(result)
    assert tree["correlation"] == {"loss": None, "next": None}
    assert "nothing here skips work" in explain_page(result)


def test_a_long_text_is_cut_and_that_is_known(run, monkeypatch):
    monkeypatch.setattr(module, "MOST", 20)
    result = explain(run(), TEXT.encode(), "it")
    assert len(result.pieces) == len(result.layers) == 20
    assert result.left_out == len(TEXT) - 20
    assert f"the first 20 of its {len(TEXT)} tokens" in explain_page(result)
    whole = as_json(result)
    assert whole["tokens_left_out"] == len(TEXT) - 20


@pytest.mark.parametrize("size", [2, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW])
@pytest.mark.parametrize("at_once", [1, 2 * WINDOW])
def test_texts_of_any_length_are_read_whole(run, size, at_once, monkeypatch):
    monkeypatch.setattr(module, "TOKENS_PER_PASS", at_once)
    made = run(halting=synthetic.Depth((2, 1, 4)))
    result = explain(made, TEXT[:size].encode(), "it")
    assert result.losses[1:].tolist() == pytest.approx(oracle(made, TEXT[:size]), abs=1e-6)
    assert result.span == min(size, WINDOW)


def test_a_text_that_is_none_is_refused(run):
    for text, said in ((b"", "it: is empty"), (b"a", "it: holds one token")):
        with pytest.raises(UserError, match=said):
            explain(run(), text, "it")
    with pytest.raises(UserError, match=r"it: chars: 'é' \(U\+00E9\) at character 2 is not among"):
        explain(run(), "abé".encode(), "it")
    broken = run()
    broken.model.head.weight.data.fill_(math.nan)
    with pytest.raises(NumericError, match="the loss on it is nan"):
        explain(broken, b"abc", "it")


def test_the_model_is_left_as_it_was(run):
    made = run()
    made.model.train()
    explain(made, TEXT.encode(), "it")
    assert made.model.training


def test_numbers_as_json(run):
    result = explain(run(halting=synthetic.Depth((1, 2))), TEXT.encode(), "it")
    tree = json.loads(json.dumps(as_json(result)), parse_constant=pytest.fail)
    assert [token["text"] for token in tree["tokens"]] == list(TEXT)
    assert tree["tokens"][0]["loss"] is None
    assert [token["layers"] for token in tree["tokens"]] == result.layers.tolist()
    assert tree["rows"][0] == {
        "present": len(TEXT), "mixer": len(TEXT), "channel": len(TEXT), "computed": len(TEXT)
    }  # fmt: skip
    assert [group["tokens"] for group in tree["depths"]] == [g.tokens for g in result.groups()]
