"""`--json`: a verb with a result prints it as one document, and nothing else, on standard output."""

from __future__ import annotations

import json

import click
import pytest
import tiny

from resnetbk.cli import VERBS, cli
from resnetbk.registry.lookup import Registry

WITHOUT = {
    "schema": "prints JSON as it is",
    "new": "writes files, and has no result beside them",
    "export": "writes a folder, and has no result beside it",
    "report": "writes a page, of numbers that are in the folder as JSON",
}
"""And why."""


def verbs() -> list[str]:
    return [*VERBS, *(entry.name for entry in Registry.discover().entries("verb"))]


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_with_a_result_has_it(verb) -> None:
    command = cli.get_command(click.Context(cli, obj=Registry.discover()), verb)
    assert command is not None
    options = {name for parameter in command.params for name in parameter.opts}
    assert ("--json" in options) is (verb not in WITHOUT)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return tiny.write_spec(tmp_path_factory.mktemp("json"), steps="steps = 2")


@pytest.fixture(scope="module")
def trained(spec):
    tiny.resnetbk.load(spec).train(spec.parent / "run")
    return spec.parent / "run"


@pytest.fixture
def document(call):
    """Runs a verb that ends with a code, and gives its document."""

    def run(*arguments, code=0):
        found, out, err = call(*arguments, "--json")
        assert found == code, err
        return json.loads(out, parse_constant=pytest.fail)

    return run


def test_show(document, spec) -> None:
    (muon,) = document("show", "muon")
    assert muon["key"] == "train.optimizer"
    (decay,) = (key for key in muon["keys"] if key["key"] == "decay")
    assert decay["allowed"] == "'linear' or 'cosine' or 'constant'"
    assert document("show", spec)["model"]["mixer"]["use"] == "bk-causal"
    if "cost" in verbs():
        (cost,) = document("show", "cost")
        assert ["--steps"] in [option["names"] for option in cost["options"]]


def test_check_says_the_mistakes_of_each_file(document, spec) -> None:
    bad = spec.parent / "bad.toml"
    bad.write_text(spec.read_text(encoding="utf-8").replace("width = 16", 'width = "16"'), encoding="utf-8")
    good, wrong = document("check", spec, bad, code=2)
    assert good == {"spec": str(spec), "mistakes": [], "missing": []}
    (mistake,) = wrong["mistakes"]
    assert mistake["place"] == f"{bad}:7"
    assert mistake["message"].startswith("model.width: ")


def test_train_and_what_reads_its_run(document, spec, trained) -> None:
    report = document("train", spec, "--out", spec.parent / "another")
    assert (report["steps"], report["stopped"]) == (2, "steps")
    assert report["folder"] == str(spec.parent / "another")
    assert document("eval", trained)["loss"] == report["loss"]
    said = document("generate", trained, "--prompt", "the", "--tokens", "3")
    assert said["prompt"] == "the"
    assert said["text"]
    assert document("diff", trained, spec.parent / "another")["spec"] == []


def test_lock(document, spec) -> None:
    lock = document("lock", spec, "--out", spec.parent / "x.lock.toml")
    assert lock["lock"] == str(spec.parent / "x.lock.toml")
    assert lock["components"]["model.mixer"]["plugin"] == "resnetbk"


def test_test_says_what_fails(document, fake_plugin) -> None:
    manifest = 'schema = 1\n[verb.greet]\nuse = "one.verbs:command"\nsummary = "says nothing of use"\n'
    code = "import click\n@click.command('greet')\ndef command(): pass\n"
    fake_plugin("one", manifest=manifest, modules={"verbs": code})
    checks = {check["check"]: check for check in document("test", "greet", code=2)}
    assert checks["documented"]["verdict"] == "failed"
    assert checks["documented"]["problem"] == "it has no help: write a docstring"
    assert {c["verdict"] for c in checks.values() if c["problem"] is None} == {"passed"}


def test_doctor_says_what_is_broken(document, fake_plugin) -> None:
    fake_plugin("hooked", manifest='schema = 1\n[plugin]\nhooks = "hooked.gone"\n')
    facts = document("doctor", code=2)
    broken = {plugin["name"]: plugin["broken"] for plugin in facts["plugins"] if plugin["broken"]}
    assert list(broken) == ["hooked"]
    assert "cannot import its hooks" in broken["hooked"][0]
