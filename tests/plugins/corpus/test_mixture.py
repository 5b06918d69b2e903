"""The corpus `mixture`: shares of what is learned from and held out, and specs with corpora in a corpus."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import attrs
import numpy as np
import pytest

import resnetbk
from resnetbk.errors import UserError
from resnetbk.kinds import Text
from resnetbk.training import objective
from resnetbk.training.data import Data
from resnetbk.training.learner import Learner
from resnetbk_instrument.pages.run import run_page
from resnetbk_plugins.corpus import mixture

SPEC = """
name = "mixed"
[data]
corpus = { use = "mixture", parts = [{ use = "text", path = "a.txt" }, PART], shares = SHARES }
window = 16
[model]
width = 8
depth = 1
mixer = "attention"
[train]
steps = 2
batch = 2
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a.txt is ten times as long as b.txt, each of one letter and the number of its line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mixture, "STRETCH", 256)
    for name, lines in (("a", 10_000), ("b", 1000)):
        Path(f"{name}.txt").write_text("".join(f"{name}{i:06}\n" for i in range(lines)))


def spec(part: str = '{ use = "text", path = "b.txt" }', shares: str = "[3, 1]") -> Path:
    path = Path("s.toml")
    path.write_text(SPEC.replace("PART", part).replace("SHARES", shares))
    return path


def text(**keys: str) -> Text:
    built: Text = resnetbk.load(spec(**keys)).spec.data.corpus.component.build()
    assert built.sha256 == hashlib.sha256(bytes(built.train) + bytes(built.valid)).hexdigest()
    return built


@pytest.mark.parametrize("large", [False, True])
def test_parts_come_by_their_shares_small_ones_again(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(mixture, "LARGE", 1000)
    built = text(shares="[3, 1]")
    lines = bytes(built.train).splitlines()
    assert len(lines) == pytest.approx(9900, abs=64)
    of = {name: Counter(line for line in lines if line[:1] == name) for name in (b"a", b"b")}
    assert of[b"b"].total() / len(lines) == pytest.approx(0.25, abs=0.01)
    assert max(of[b"a"].values()) == 1  # a random selection of the large part
    assert len(of[b"b"]) == 900  # the whole of the small one before any of it again
    assert set(of[b"b"].values()) == {2, 3}
    changes = sum(one[:1] != other[:1] for one, other in pairwise(lines))
    assert changes > 80  # of 310 pieces a quarter are of the other part
    held = bytes(built.valid).splitlines()
    assert Counter(line[:1] for line in held) == {b"a": 300, b"b": 100}
    assert not set(held) & set(lines)


def test_the_seed_and_the_shares_decide() -> None:
    one, same, other = text(), text(), text(shares="[1, 1]")
    assert one.sha256 == same.sha256 != other.sha256


def test_it_trains_is_locked_and_its_parts_are_evaluated(call) -> None:  # type: ignore[no-untyped-def]
    run = resnetbk.load(spec()).train("run")
    assert run.evaluate().tokens == 3199
    assert 'path = "b.txt"' in Path("run/spec.lock.toml").read_text()
    part = 'data.corpus={use="text",path="b.txt"}'
    code, out, err = call("eval", "run", "--json", "--set", part)
    assert code == 0, err
    assert json.loads(out)["tokens"] == 799


def test_the_loss_of_each_part_is_that_of_its_text_alone(  # type: ignore[no-untyped-def]
    call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part ends at a border of windows: nothing but the target after it is of the second."""
    experiment = resnetbk.load(spec(shares="[3, 1]"))
    run = experiment.train("run")
    data = run.data()
    assert dict(data.text.parts) == {"text": 2400, "text-2": 3200}
    evaluation = run.evaluate()
    assert evaluation.groups == run.report.groups
    assert set(evaluation.groups) == {"text", "text-2"}
    valid = bytes(data.text.valid)

    def alone(part: bytes) -> float:
        alone = run.evaluate(Data.of(Text(data.text.train, part, "0" * 64), experiment.spec.data))
        assert not alone.groups
        return alone.loss

    first, second = evaluation.groups.values()
    assert [first, second] == pytest.approx([alone(valid[:2401]), alone(valid[2400:])], rel=2e-6)
    assert first != pytest.approx(second, rel=2e-5)
    assert evaluation.loss == pytest.approx((2400 * first + 799 * second) / 3199, rel=2e-6)
    # a window that reaches over the border is of the part it begins in, in passes of few windows too
    monkeypatch.setattr(objective, "TOKENS_PER_PASS", 112)
    moved = run.evaluate(attrs.evolve(data, part_ends=np.array([2001, 3200]))).groups
    assert [*moved.values()] == pytest.approx([alone(valid[:2017]), alone(valid[2016:])], rel=2e-6)
    last = run.evaluate(attrs.evolve(data, part_ends=np.array([3190, 3200]))).groups
    assert set(last) == {"text"}
    code, out, _ = call("eval", "run", "--json")
    assert (code, json.loads(out)["groups"]) == (0, evaluation.groups)
    _, out, _ = call("eval", "run")
    assert re.search(rf"^ *text-2 +{second:.4f}", out, re.M), out
    table = run_page(run.folder, {})
    assert "Loss by part of the held-out text" in table
    assert f'<th scope="row">text-2</th>\n<td class="number">{second:.4f}</td>' in table


def test_evaluations_in_training_read_the_beginning_of_each_part() -> None:
    data = Data.load(resnetbk.load(spec()).spec.data)
    begun = data.beginning(100, 16)
    assert bytes(begun.text.valid) == data.text.valid[:64] + data.text.valid[2400:2417]
    assert begun.part_ends.tolist() == [64, 81]
    one = data.beginning(16, 16)
    assert one.part_ends.tolist() == [16, 33]
    assert data.beginning(10**6, 16) is data


def test_parts_are_known_in_tokens_of_several_bytes_and_to_selectors() -> None:
    """Tokens of two bytes have other places than bytes; selectors get the part at each token."""
    told = spec()
    told.write_text(told.read_text().replace("window = 16", 'window = 16\nselector = "bandit"'))
    data_spec = resnetbk.load(told).spec.data
    for tokenizer in (Pairs(), None):
        data = Data.load(data_spec, tokenizer)
        for tokens, groups in (
            (data.train, data.to_choose_from(data_spec)["groups"]),
            (data.valid, np.searchsorted(data.part_ends, np.arange(len(data.valid)), side="right")),
        ):
            decoded = [data.tokenizer.decode([token]) for token in tokens.tolist()]
            assert len(groups) == len(tokens)
            for letter, part in ((b"a", 0), (b"b", 1)):
                begun = [group for piece, group in zip(decoded, groups, strict=True) if letter in piece[:1]]
                assert set(begun) == {part}
    learner = Learner(resnetbk.load(told).spec)
    learner.learn()
    starts = learner.unread[0].windows.starts
    assert len(np.unique(learner.selector.group)) == 2
    first = [bytes(learner.data.train[start : start + 8].astype(np.uint8)) for start in starts]
    group = learner.selector.group[learner.selector.layout.numbers(learner.unread[0].windows)]
    assert [b"b" in piece for piece in first] == group.astype(bool).tolist()


class Pairs:
    """Two bytes a token where they are a letter and a zero, else one."""

    vocabulary = 258

    def encode(self, text: bytes) -> np.ndarray:
        pairs = bytes(text).replace(b"a0", b"\xfe").replace(b"b0", b"\xff")
        return np.frombuffer(pairs, np.uint8)

    def decode(self, tokens: list[int]) -> bytes:
        return bytes(tokens).replace(b"\xfe", b"a0").replace(b"\xff", b"b0")

    def state(self) -> dict[str, object]:
        return {}


def test_mistakes_are_one_line(call) -> None:  # type: ignore[no-untyped-def]
    for part, shares, message in (
        ('{ use = "text", path = "b.txt", pth = 1 }', "[1, 1]", "s.toml:4: data.corpus.parts[1]"),
        ('{ use = "txt" }', "[1, 1]", "did you mean 'text'?"),
        ('{ use = "text", path = "b.txt" }', "[1]", "shares are 1 numbers for 2 parts: one each"),
        ('{ use = "text", path = "b.txt" }', "[1, 0.0]", "data.corpus.shares: must be more than 0"),
    ):
        code, _, err = call("check", spec(part, shares))
        assert code == 2, err
        assert message in err
        assert err.count("\n") == 1
    with pytest.raises(UserError, match="mixture: 'group-words' is a task, and parts must all be text"):
        text(part='{ use = "group-words", examples = 10, held_out = 10 }')
