"""What careless and hostile callers come up with: a line each, and exit code 2 or 4; never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tiny

from resnetbk.errors import StorageError, UserError
from resnetbk.files import replace_file
from resnetbk.registry.lookup import Registry
from resnetbk_authoring.testing.subject import Subject


def refused(outcome, *words: str, code: int = 2) -> None:
    found, _, err = outcome
    assert found == code, err
    for word in words:
        assert word in err
    assert "Traceback" not in err


def test_pipes_are_left_alone_and_links_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="no regular file"):
        replace_file(tmp_path / "pipe", b"x")
    assert not (tmp_path / "pipe").is_file()
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_lock_does_not_replace_its_spec(call, tmp_path):
    spec = tiny.write_spec(tmp_path)
    before = spec.read_bytes()
    refused(call("lock", spec, "--out", spec), "is the spec itself")
    assert spec.read_bytes() == before


def test_what_is_tested_is_what_was_named():
    registry = Registry.discover()
    entry = registry.find("sparsity-gate", "random")
    with pytest.raises(UserError, match="'use' is no key to test it with"):
        Subject.of(registry, entry, {"use": "open"})
    with pytest.raises(UserError, match="resnetbk/random: keep: expects a number, found 'x'"):
        Subject.of(registry, entry, {"keep": "x"})


def test_dates_in_an_edited_lock_are_shown(call, tmp_path):
    for name, year in (("a", 2020), ("b", 2021)):
        (tmp_path / f"{name}.lock.toml").write_text(f"schema = 1\n[spec]\nwhen = {year}-01-01\n")
    code, out, err = call("diff", tmp_path / "a.lock.toml", tmp_path / "b.lock.toml")
    assert "Traceback" not in err
    assert "2021-01-01" in out
    assert code in (0, 1)


def test_diff_tells_the_mistakes_of_both(call, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text("nonsense = 1\n")
    refused(call("diff", tmp_path / "a.toml", tmp_path / "b.toml"), "a.toml:1", "b.toml:1")


@pytest.mark.parametrize("words", [["--help"], ["list"], ["show", "bk-causal"]])
def test_a_reader_that_leaves_ends_us_without_a_word(words):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        command = [sys.executable, "-c", "from resnetbk.cli import main; main()", *words]
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


PARTS = """
    import enum
    import attrs

    class E(enum.Enum):
        A = "a"

    def fails(): raise RuntimeError("boom")

    @attrs.frozen(kw_only=True)
    class Odd:
        "Odd."
        mode: E = attrs.field(default=E.A, validator=attrs.validators.in_(E))
        size: int = attrs.field(factory=fails)
        def build(self, *, text): ...
"""
MANIFEST = """
    schema = 1
    [tokenizer.odd]
    use = "odd.parts:Odd"
    summary = "odd"
    [tokenizer.rude]
    use = "odd.rude:Rude"
    summary = "rude"
"""
RUDE = """
    class Rude(Exception):
        def __str__(self): raise ValueError
    raise Rude
"""


def test_one_odd_plugin_spoils_neither_schema_nor_show(call, fake_plugin):
    fake_plugin("odd", manifest=MANIFEST, modules={"parts": PARTS, "rude": RUDE})
    assert call("schema")[0] == 0
    assert "(fails: RuntimeError)" in call("show", "odd")[1]
    refused(call("show", "rude"), "cannot import odd.rude:Rude: Rude")


def test_a_loop_of_links_is_a_plugin_left_out(call, tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("RESNETBK_REGISTRY", str(tmp_path / "loop/registry.toml"))
    code, out, err = call("list", "sparsity-gate")
    assert code == 0
    assert "gumbel" in out
    assert err.count("is left out") == 1


def test_sets_that_are_no_value_or_go_nowhere_are_refused(call, tmp_path):
    refused(call("check", tiny.write_spec(tmp_path), "--set", "train.steps=5 } #"), "neither TOML nor")
    refused(call("show", "bk-causal", "--set", "chains=3"), "--set is for a spec")
    path = os.fsdecode(b"caf\xe9.txt")
    outcome = call("show", tiny.write_spec(tmp_path), "--set", f'data.corpus={{use="text",path="{path}"}}')
    refused(outcome, "data.corpus")


def test_names_are_printed_on_one_line(call, tmp_path):
    folder = tmp_path / "a\nb"
    folder.mkdir()
    spec = tiny.write_spec(tmp_path).rename(folder / "tiny.toml")
    code, out, _ = call("check", spec)
    assert code == 0
    assert len(out.splitlines()) == 1
    refused(call("new", "tests", "--kind", "tokenizer"), "'tests' is where its tests go")
