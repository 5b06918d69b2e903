"""Verbs that plugins bring: found by their manifests, imported when they are called."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MANIFEST = """
schema = 1
[verb.greet]
use = "{0}.verbs:command"
summary = "Says how many components there are"
"""

GREET = """
import click

@click.command("greet")
@click.option("--loud", is_flag=True, help="In capitals.")
@click.pass_obj
def command(registry, loud):
    text = f"hello from {__name__}: {len(registry.entries())} components"
    click.echo(text.upper() if loud else text)
"""


def verb(name: str, code: str) -> str:
    return f"import click\n@click.command('{name}')\ndef command():\n    {code}\n"


@pytest.fixture
def greeter(fake_plugin):
    return fake_plugin("one", manifest=MANIFEST.format("one"), modules={"verbs": GREET})


def test_a_plugins_verb_works_with_its_options(call, greeter):
    code, out, err = call("greet", "--loud")
    assert (code, err) == (0, "")
    assert out.startswith("HELLO FROM ONE.VERBS: ")
    assert call("greet", "--help")[1].startswith("Usage: resnetbk greet [OPTIONS]")
    assert call("greet", "--low")[0] == 2


def test_help_list_and_show_know_it_and_only_show_imports_it(call, greeter):
    assert "greet     Says how many components there are" in call("--help")[1]
    rows = json.loads(call("list", "verb", "--json")[1])
    assert ("greet", "one") in {(row["name"], row["plugin"]) for row in rows}
    assert "greet" in call("list")[1]
    assert "one.verbs" not in sys.modules
    code, out, _ = call("show", "greet")
    assert code == 0
    assert "plugin    one 1.0" in out
    assert "--loud" in out


def test_the_command_line_imports_no_verb_to_list_them():
    code = (
        "import sys\nfrom resnetbk.cli import _run\nassert _run(['--help']) == 0\n"
        "assert not any(name.startswith('resnetbk_') for name in sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_two_plugins_with_a_verb_of_one_name(call, greeter, fake_plugin):
    fake_plugin("two", manifest=MANIFEST.format("two"), modules={"verbs": GREET})
    code, out, err = call("greet")
    assert (code, out) == (2, "")
    assert err == "verb 'greet' is in several plugins; write one/greet or two/greet\n"
    assert call("two/greet")[1].startswith("hello from two.verbs")
    assert "one/greet" in call("--help")[1]


def test_core_keeps_the_names_of_its_own_verbs(call, fake_plugin):
    manifest = MANIFEST.format("one").replace("greet", "eval")
    fake_plugin("one", manifest=manifest, modules={"verbs": verb("eval", "click.echo('mine')")})
    code, out, _ = call("doctor")
    assert code == 0
    assert "verb/eval: core's own verb has this name; call it as one/eval" in out
    assert call("one/eval")[1] == "mine\n"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            "raise SystemExit('at import')",
            "plugin one 1.0: cannot import one.verbs:command: SystemExit: at import",
        ),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def command(): pass", "plugin one 1.0: cannot import one.verbs:command: it is no click command"),
        ("", "AttributeError"),
    ],
)
def test_a_verb_that_cannot_be_imported_is_one_line(call, fake_plugin, module, words):
    fake_plugin("one", manifest=MANIFEST.format("one"), modules={"verbs": module})
    code, out, err = call("greet")
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    code, out, _ = call("doctor")
    assert code == 2
    assert "verb/greet: plugin one 1.0: cannot import one.verbs:command" in out


def test_a_verb_that_breaks_is_its_plugins_bug(call, fake_plugin):
    fake_plugin("one", manifest=MANIFEST.format("one"), modules={"verbs": verb("greet", "1 / 0")})
    code, _, err = call("greet")
    assert code == 1
    assert "ZeroDivisionError" in err
    assert "raised by verb 'greet' of plugin one 1.0" in err
    assert err.endswith("this is a bug in resnetbk or in a plugin: please report it with the lines above\n")


def test_a_blocked_plugins_verb_says_so(call, greeter):
    code, out, err = call("--block", "one", "greet")
    assert (code, out) == (2, "")
    assert err.startswith("no verb 'greet'")
    assert err.endswith("; not searched: one\n")
    assert "greet" not in call("--block", "one", "--help")[1]


def test_a_private_manifest_brings_verbs_too(call, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "registry.toml").write_text(MANIFEST.format("private_greeting").replace(".verbs", ""))
    (folder / "private_greeting.py").write_text(GREET)
    manifest = folder / "registry.toml"
    assert "greet" in call("--registry", manifest, "--help")[1]
    assert call("--registry", manifest, "greet")[1].startswith("hello from private_greeting: ")
    assert call("greet")[0] == 2


def test_an_unknown_verb_is_answered_with_the_nearest(call, greeter):
    assert call("gret")[2] == "no verb 'gret'; did you mean 'greet'?\n"
    code, _, err = call("trian")
    assert (code, err) == (2, "no verb 'trian'; did you mean 'train'?\n")


def test_a_manifest_is_checked_for_its_verbs(call, fake_plugin):
    manifest = MANIFEST.format("one") + 'provides = ["causal"]\n[verb.Loud]\nuse = "one"\nsummary = "x"\n'
    fake_plugin("one", manifest=manifest, modules={"verbs": GREET})
    code, out, _ = call("doctor")
    assert code == 2
    assert "registry.toml:5: verb.greet: unknown key 'provides'; allowed: summary, use (and 2 more)" in out


@pytest.mark.parametrize("verb", ["compare", "ablate", "tune", "cost", "explain", "report", "runs"])
def test_without_the_instrument_one_line_says_what_brings_its_verbs(call, verb):
    code, out, err = call("--block", "resnetbk-instrument", verb)
    assert (code, out) == (2, "")
    assert err.startswith(f"no verb {verb!r}; plugin resnetbk-instrument brings it, which is ")
    assert err.count("\n") == 1
