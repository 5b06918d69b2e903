"""Fifty plugins that misbehave: each is told of once, with its cause, and nobody else notices them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny

from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read

FINE = """
    import attrs
    @attrs.frozen(kw_only=True)
    class Part:
        def build(self, *, width, depth): ...
"""
MANIFEST = """
    schema = 1
    [sequence-mixer.{name}]
    use = "{package}.part:Part"
    summary = "misbehaves"
    provides = ["causal"]
"""

AT_IMPORT = {
    "value-error": ("raise ValueError('no')", "ValueError: no"),
    "two-lines": ("raise RuntimeError('first\\nsecond')", "RuntimeError: first second"),
    "missing-module": ("import not_there_at_all", "No module named 'not_there_at_all'"),
    "missing-name": ("from math import pie", "cannot import name 'pie'"),
    "syntax": ("def (:", "SyntaxError"),
    "indent": ("x = 1\n  y = 2", "IndentationError"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "quit": ("raise SystemExit", "SystemExit"),
    "recursion": ("def f(): f()\nf()", "RecursionError"),
    "memory": ("raise MemoryError", "MemoryError"),
    "assertion": ("assert False", "AssertionError"),
    "stop": ("raise StopIteration", "StopIteration"),
    "generator-exit": ("raise GeneratorExit", "GeneratorExit"),
    "zero": ("1 / 0", "ZeroDivisionError"),
    "key": ("{}['x']", "KeyError"),
    "unicode": ("raise ValueError('\\x1b[31m\\u202e')", "ValueError"),
    "long": ("raise ValueError('x' * 100000)", "ValueError"),
    "empty": ("", "has no attribute 'Part'"),
}
OF_THE_WRONG_KIND = {
    "number": ("Part = 3", "it is no attrs class"),
    "none": ("Part = None", "it is no attrs class"),
    "plain-class": ("class Part:\n    def build(self): ...", "it is no attrs class"),
    "function": ("def Part(): ...", "it is no attrs class"),
    "instance": (FINE + "    Part = Part()", "it is no attrs class"),
    "without-build": ("import attrs\n@attrs.frozen\nclass Part: ...", "it has no method 'build'"),
    "build-is-data": ("import attrs\n@attrs.frozen\nclass Part:\n    build = 3", "it has no method 'build'"),
}
BROKEN_MANIFESTS = {
    "not-toml": "[[[",
    "nothing": "",
    "no-schema": "[corpus.x]",
    "schema-99": "schema = 99",
    "schema-0": "schema = 0",
    "schema-list": "schema = []",
    "kind-unknown": "schema = 1\n[mixer.x]",
    "kind-number": "schema = 1\ncorpus = 3",
    "no-use": 'schema = 1\n[corpus.x]\nsummary = "s"',
    "use-code": 'schema = 1\n[corpus.x]\nuse = "os:system(\'x\')"\nsummary = "s"',
    "word": 'schema = 1\n[corpus.x]\nuse = "a:B"\nsummary = "s"\nprovides = ["fast"]',
    "words-number": 'schema = 1\n[corpus.x]\nuse = "a:B"\nsummary = "s"\nprovides = 3',
    "name-upper": 'schema = 1\n[corpus.X]\nuse = "a:B"\nsummary = "s"',
    "summary-lines": 'schema = 1\n[corpus.x]\nuse = "a:B"\nsummary = "s\\nt"',
    "api-newer": 'schema = 1\n[corpus.x]\nuse = "a:B"\nsummary = "s"\napi = 9',
    "hooks": "schema = 1\n[plugin]\nhooks = 3",
    "other-name": 'schema = 1\n[plugin]\nname = "resnetbk"',
}
NEVER_IMPORTED = {
    "slow": "import time; time.sleep(600)",
    "patching-torch": "import torch; torch.nn.Linear = None; torch.randn = None",
    "patching-open": "import builtins; builtins.open = None",
    "patching-us": "import resnetbk.kinds; resnetbk.kinds.KINDS.clear()",
    "threads": "import threading\nwhile True: pass",
    "environment": "import os; os.environ.clear(); os.chdir('/')",
    "noise": "print('hello' * 10000)",
    "as-first-party": FINE,
}
"""Harmless as long as nobody uses them."""


@pytest.fixture
def fifty(fake_plugin):
    sources = {
        **{name: source for name, (source, _) in {**AT_IMPORT, **OF_THE_WRONG_KIND}.items()},
        **NEVER_IMPORTED,
    }
    for name, source in sources.items():
        component = "bk-resolvent" if name == "as-first-party" else f"x-{name}"
        package = f"bad_{name.replace('-', '_')}"
        manifest = MANIFEST.format(name=component, package=package)
        fake_plugin(f"bad-{name}", manifest=manifest, modules={"part": source})
    for name, manifest in BROKEN_MANIFESTS.items():
        fake_plugin(f"bad-{name}", manifest=manifest)
    assert len(sources) + len(BROKEN_MANIFESTS) == 50


def test_list_says_each_broken_manifest_once_with_its_cause(fifty, call):
    code, out, err = call("list")
    assert code == 0
    assert "attention" in out
    lines = err.splitlines()
    assert len(lines) == len(BROKEN_MANIFESTS)
    for name in BROKEN_MANIFESTS:
        (line,) = (line for line in lines if line.startswith(f"warning: plugin bad-{name} 1.0 is left out: "))
        assert "registry.toml:" in line
        assert line.isprintable()
    assert not [name for name in sys.modules if name.startswith("bad_")]


@pytest.mark.parametrize("name", {**AT_IMPORT, **OF_THE_WRONG_KIND})
def test_one_that_cannot_be_loaded_is_one_line_where_it_is_used(fifty, call, tmp_path, name):
    cause = {**AT_IMPORT, **OF_THE_WRONG_KIND}[name][1]
    spec = tiny.write_spec(tmp_path, mixer=f'mixer = "x-{name}"')
    code, out, err = call("check", spec)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert f"plugin bad-{name} 1.0" in line
    assert cause in line
    assert line.isprintable()
    assert len(line) < 1000


def test_an_unrelated_run_is_untouched(fifty, call, tmp_path, monkeypatch):
    spec = tiny.write_spec(tmp_path, steps="steps = 3")
    assert call("train", spec, "--out", tmp_path / "with")[0] == 0
    monkeypatch.setenv("RESNETBK_PLUGINS", "resnetbk")
    assert call("train", spec, "--out", tmp_path / "without")[0] == 0
    last = "checkpoints/step-000003/model.safetensors"
    assert (tmp_path / "with" / last).read_bytes() == (tmp_path / "without" / last).read_bytes()
    assert not [name for name in sys.modules if name.startswith("bad_")]


def test_a_name_of_ours_that_a_stranger_takes_stays_ours(fifty, call, tmp_path):
    for mixer in ("bk-resolvent", "resnetbk/bk-resolvent"):
        spec = tiny.write_spec(tmp_path, mixer=f'mixer = "{mixer}"')
        assert call("check", spec)[0] == 0
        assert read(spec, Registry.discover()).model.mixer.entry.plugin == "resnetbk"


def test_a_blocked_plugin_is_never_opened_by_python(fake_plugin, tmp_path):
    """By an audit hook, which sees every import and every file that is opened."""
    folder = fake_plugin(
        "shady", manifest=MANIFEST.format(name="shady", package="shady"), modules={"part": FINE}
    )
    spec = tiny.write_spec(tmp_path)
    code = (
        "import sys\n"
        "seen = []\n"
        "def hook(event, arguments):\n"
        "    if event in ('open', 'import', 'exec', 'compile'):\n"
        "        seen.append(str(arguments[0]))\n"
        "sys.addaudithook(hook)\n"
        f"sys.path.insert(0, {str(folder.parent)!r})\n"
        "from resnetbk.cli import _run\n"
        f"assert _run(['--block', 'shady', 'list']) == 0\n"
        f"assert _run(['--block', 'shady', 'check', {str(spec)!r}]) == 0\n"
        f"assert _run(['--block', 'shady', 'show', 'shady']) == 2\n"
        f"own = ('shady.', {str(folder) + '/'!r})\n"
        "print([one for one in seen if one.startswith(own) or one == 'shady'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
