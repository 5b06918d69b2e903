"""`explain` from the command line: the page, the numbers, and what it refuses in one line."""

from __future__ import annotations

import json
import sys

import pytest
import tiny

from resnetbk.registry.lookup import Registry
from resnetbk.training.run import Run
from resnetbk_instrument.profile import explain


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    tiny.experiment(folder, data='[data]\ntokenizer = "chars"').train(folder / "run")
    return folder / "run"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps\nover the lazy dog")
    return path


def test_the_page_lies_in_the_run_or_where_it_is_told(call, trained, text, tmp_path):
    code, out, err = call("explain", trained, "--text", text)
    assert (code, err) == (0, "")
    page = trained / "explain.html"
    assert out == f"{page}\n"
    assert "All 2 layers" in page.read_text(encoding="utf-8")
    again = tmp_path / "again.html"
    assert call("explain", trained, "--text", text, "--out", again)[0] == 0
    assert again.read_bytes() == page.read_bytes()


def test_the_numbers_agree_with_eval(call, trained, tmp_path):
    held_out = tmp_path / "held-out.txt"
    held_out.write_bytes(Run.open(trained, Registry.discover()).data().text.valid)
    code, out, err = call("explain", trained, "--text", held_out, "--json")
    tree, known = json.loads(out), json.loads(call("eval", trained, "--json")[1])
    assert (code, err) == (0, "")
    assert len(tree["tokens"]) == known["tokens"] + 1
    assert tree["loss"] == pytest.approx(known["loss"], abs=1e-5)
    assert tree["bits_per_byte"] == pytest.approx(known["bits_per_byte"], abs=1e-5)
    assert tree["layers"] == tree["depth"] == 2
    assert tree["share"] == 1


def test_a_long_text_is_cut_in_so_many_words(call, trained, tmp_path, text, monkeypatch):
    monkeypatch.setattr(explain, "MOST", 10)
    code, out, err = call("explain", trained, "--text", text, "--json")
    assert (code, len(json.loads(out)["tokens"])) == (0, 10)
    assert err == f"{text}: only the first 10 of its 43 tokens are read\n"


def test_json_and_a_page_at_once(call, trained, text, tmp_path):
    page = tmp_path / "page.html"
    code, out, _ = call("explain", trained, "--text", text, "--json", "--out", page)
    assert code == 0
    assert json.loads(out)["run"] == "tiny"
    assert page.is_file()


def test_what_cannot_be_is_said_in_one_line(call, trained, text, tmp_path):
    empty, odd, broken = tmp_path / "empty.txt", tmp_path / "odd.txt", tmp_path / "broken.txt"
    empty.write_text("")
    odd.write_text("the €")
    broken.write_bytes(b"the \xff")
    for arguments, words in (
        ((trained, "--text", tmp_path / "none.txt"), "none.txt"),
        ((trained, "--text", tmp_path), "is a directory"),
        ((trained, "--text", empty), f"{empty}: is empty"),
        ((trained, "--text", odd), f"{odd}: chars: '€' (U+20AC) at character 4 is not among"),
        ((trained, "--text", broken), f"{broken}: chars: the text is not UTF-8 at byte 4"),
        ((trained, "--text", text, "--out", tmp_path), "is a directory"),
        ((tmp_path / "no-run", "--text", text), "no-run: no such run"),
        ((trained,), "--text"),
    ):
        code, out, err = call("explain", *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1), arguments
        assert words in err
    assert not list(tmp_path.glob("*.html"))


def test_it_needs_no_matplotlib(call, trained, text, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert call("explain", trained, "--text", text)[0] == 0
