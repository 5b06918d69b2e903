"""A run from Python: tokens, losses of each token, and texts as str and as bytes."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

import resnetbk
from resnetbk.errors import UserError

TEXT = "the quick brown fox jumps over the dog. " * 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tiny.experiment(folder, steps="steps = 4").train(folder / "run")
    return resnetbk.open_run(folder / "run")


def test_each_loss_has_the_context_that_is_documented(run) -> None:
    tokens, losses = run.encode(TEXT), run.losses(TEXT)
    window = run.spec.data.window
    assert (losses.dtype, losses.shape) == (np.float32, (len(tokens) - 1,))
    assert len(tokens) % window != 1  # the last window is a shorter one
    with torch.inference_mode():
        for i in (0, 1, window - 1, window, 2 * window + 3, len(losses) - 1):
            context = torch.from_numpy(tokens[i - i % window : i + 1])[None]
            expected = -run.model(context).logits[0, -1].log_softmax(0)[tokens[i + 1]]
            torch.testing.assert_close(torch.tensor(losses[i]), expected, rtol=1e-4, atol=1e-5)


def test_their_mean_on_the_held_out_text_is_the_evaluation(run) -> None:
    losses = run.losses(bytes(run.data().text.valid))
    assert losses.mean(dtype=np.float64) == pytest.approx(run.evaluate().loss, rel=1e-5)


def test_a_text_may_be_bytes(run) -> None:
    np.testing.assert_array_equal(run.losses(TEXT), run.losses(TEXT.encode()))
    assert run.tokenizer.decode(run.encode(TEXT)) == TEXT.encode()
    pieces = [b"".join(run.generate(prompt, 5)) for prompt in (TEXT, TEXT.encode())]
    assert pieces[0] == pieces[1]


def test_torch_takes_the_arrays_without_a_warning(run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.from_numpy(run.encode(TEXT)).add_(1)
        torch.from_numpy(run.losses(TEXT)).add_(1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the text has fewer than two tokens; there is no loss before the second"),
        ("a", "the text has fewer than two tokens; there is no loss before the second"),
        ("a\ud800", "the text holds half of a character (0xd800) at place 1"),
    ],
)
def test_a_text_without_losses_is_refused(run, text, said) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        run.losses(text)


def test_the_how_to_works(run, monkeypatch, capsys) -> None:
    page = Path(__file__).parents[3] / "docs" / "howto.md"
    (code,) = re.findall(r"```python\n(import resnetbk\nimport torch\n.*?)```", page.read_text("utf-8"), re.S)
    monkeypatch.chdir(run.folder.path.parent)
    exec(code.replace("runs/quickstart", "run"), {})
    assert re.fullmatch(r"b['\"].+['\"]\n", capsys.readouterr().out)
