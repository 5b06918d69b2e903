"""The corpus `mixture`: shares of what is learned from and held out, and specs with corpora in a corpus."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

import resnetbk
from resnetbk.errors import UserError
from resnetbk.kinds import Text
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
    with pytest.raises(UserError, match="mixture: 'group-words' is a task, and parts must be text"):
        text(part='{ use = "group-words", examples = 10, held_out = 10 }')
