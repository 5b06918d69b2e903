"""Specs that are installed along, by name; run against a package of two that lies elsewhere."""

from __future__ import annotations

import json

import pytest
import tiny

from resnetbk import shipped


@pytest.fixture
def specs(tmp_path, monkeypatch):
    folder = tmp_path / "some_specs"
    (folder / "more").mkdir(parents=True)
    (folder / "__init__.py").touch()
    spec = tiny.write_spec(tmp_path).read_text()
    (folder / "first.toml").write_text(f"# A small model. Of a text.\n{spec}")
    (folder / "more" / "second.toml").write_text('extends = "../first.toml"\nname = "second"\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(shipped, "PACKAGE", "some_specs")
    return folder


def test_they_are_listed_with_what_they_are_for(call, specs) -> None:
    code, out, err = call("specs")
    assert (code, err) == (0, "")
    assert "A small model\n" in out.replace("  ", "")
    rows = json.loads(call("specs", "--json")[1])
    assert [row["name"] for row in rows] == ["first", "more/second"]
    assert rows[1]["purpose"] == "../first, with another part"


def test_a_name_stands_for_its_file(call, specs, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("check", "more/second") == (0, "more/second: ok\n", "")
    shown = call("show", "more/second", "--json")
    assert shown == call("show", specs / "more" / "second.toml", "--json")
    assert json.loads(shown[1])["name"] == "second"


def test_a_file_that_is_there_comes_first(call, specs, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first").write_text("model = 3\n")
    code, _, err = call("check", "first")
    assert code == 2
    assert err.startswith("first:1: ")


def test_a_name_that_is_none_is_one_line_with_the_nearest(call, specs, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = "frist: no such file, nor an installed spec; did you mean 'first'?\n"
    assert call("train", "frist") == (2, "", said)
    assert "resnetbk specs lists" in call("train", "unheard-of")[2]


def test_where_none_are_installed_there_are_none(call, monkeypatch) -> None:
    monkeypatch.setattr(shipped, "PACKAGE", "no_such_package")
    assert json.loads(call("specs", "--json")[1]) == []
