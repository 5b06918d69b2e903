"""What the documents say is what is there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click
import pytest

from resnetbk.cli import VERBS, cli
from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry
from resnetbk.spec import Data, Model, Spec, Train, read, read_text
from resnetbk_authoring.testing.fixtures import FakePlugin

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SPECS = sorted((ROOT / "specs").rglob("*.toml"))
DOCUMENTS = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]


def name(path: Path) -> str:
    """Of a file below the project's folder, in ids of tests."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SPECS, ids=name)
def test_every_spec_that_we_ship_is_sound(path: Path) -> None:
    assert read(path, Registry.discover()).name


def test_every_key_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "spec.md").read_text(), flags=re.M))
    fields = {field.name for cls in (Data, Model, Train, Spec) for field in attrs.fields(cls)}
    assert documented == fields - {"data", "model", "train"} | {"extends"}


def test_the_readme_shows_the_quickstart_spec_as_it_is() -> None:
    shown = next(
        block for block in re.findall(r"```toml\n(.*?)```", README, flags=re.S) if "quickstart" in block
    )
    registry = Registry.discover()
    assert read_text(shown, registry) == read(ROOT / "specs" / "quickstart.toml", registry)


def test_the_readme_lists_every_component() -> None:
    table = README.partition("## Components")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z0-9-]+)`", table))
    assert {entry.name for entry in Registry.discover().entries() if entry.plugin == "resnetbk"} <= listed


def test_the_readme_shows_mistakes_as_they_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = README.partition("$ resnetbk check bad.toml\n")[2].partition("```")[0]
    text = (ROOT / "specs" / "quickstart.toml").read_text()
    bad = text.replace("width = 128", 'width = "128"').replace("chains = 128", "chans = 128")
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text(bad, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read("bad.toml", Registry.discover())
    assert str(caught.value) + "\n" == block


def test_the_readme_lists_every_verb() -> None:
    table = README.partition("## Verbs")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z]+)[ `]", table))
    assert {*VERBS, *(entry.name for entry in Registry.discover().entries("verb"))} <= listed


def test_the_readme_lists_options_that_verbs_have() -> None:
    registry = Registry.discover()
    table = README.partition("## Verbs")[2].partition("From Python")[0]
    calls = [
        call for row in re.findall(r"^\| (`.*?) \|", table, re.M) for call in re.findall("`([^`]+)`", row)
    ]
    assert len(calls) > 15
    for call in calls:
        verb = call.split()[0]
        context = click.Context(cli, obj=registry)
        command = cli.get_command(context, verb)
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", call)) <= known, call


def test_the_component_of_the_readme_works(
    call: Callable[..., tuple[int, str, str]], fake_plugin: FakePlugin
) -> None:
    fake_plugin(
        "my_package",
        manifest=block_of("README.md", "# my_package/registry.toml"),
        modules={"component": block_of("README.md", "# my_package/component.py")},
    )
    code, out, err = call("test", "mean")
    assert code == 0, out + err


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        place, _, heading = target.partition("#")
        file = document.parent / place if place else document
        assert file.exists(), target
        assert not heading or heading in headings(file), target


def headings(file: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_tests_that_are_named_exist(document: Path) -> None:
    folders = (ROOT / "tests", ROOT / "examples")
    tests = "".join(path.read_text() for folder in folders for path in folder.rglob("test_*.py"))
    for test in re.findall(r"\b(test_[a-z0-9_]+)\b(?!\.py)", document.read_text(encoding="utf-8")):
        assert f"def {test}(" in tests, test


def test_files_that_are_named_for_contributors_exist() -> None:
    """And the map from modules to tests has every folder."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for place in re.findall(r"\b(?:core|plugins|tests|docs)/[\w/.-]*\w(?![\w/.<-])", text):
        assert (ROOT / place).exists(), place
    mapped = text.partition("## Where a module is tested")[2].partition("\n## ")[0]
    for package in (ROOT / "core" / "resnetbk").glob("*/__init__.py"):
        assert f"| `core/resnetbk/{package.parent.name}/` |" in mapped
    for folder in ("resnetbk_plugins", "resnetbk_instrument"):
        tests = ROOT / "tests" / folder.removeprefix("resnetbk_")
        for package in (ROOT / "plugins" / folder).glob("*/__init__.py"):
            assert (tests / package.parent.name).is_dir(), package


def test_the_reference_is_what_its_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = ROOT / "docs" / "reference"
    assert {path.name for path in folder.iterdir()} == set(script.pages())
    for page, text in script.pages().items():
        assert (folder / page).read_text(encoding="utf-8") == text, f"{page}: python docs/make_reference.py"


def test_the_tutorial_shows_the_files_of_the_example() -> None:
    text = (ROOT / "docs" / "plugin.md").read_text()
    shown = re.findall(r"```[a-z]+ title=\"([^\"]+)\"\n(.*?)```", text, re.DOTALL)
    assert len(shown) >= 3
    for file, code in shown:
        assert code == (ROOT / "examples" / "resnetbk-haar" / file).read_text(), file


def block_of(document: str, first_line: str) -> str:
    """The code block of a document that begins with a line."""
    text = (ROOT / document).read_text()
    return text.partition(f"\n{first_line}\n")[2].partition("```")[0]


def test_the_verb_of_the_tutorial_works(
    call: Callable[..., tuple[int, str, str]], fake_plugin: FakePlugin
) -> None:
    fake_plugin(
        "resnetbk-sizes",
        manifest=block_of("docs/plugin.md", "# resnetbk_sizes/registry.toml"),
        modules={"verbs": block_of("docs/plugin.md", "# resnetbk_sizes/verbs.py")},
    )
    assert "sizes     How many parameters each part of a spec has" in call("--help")[1]
    code, out, err = call("sizes", ROOT / "specs" / "quickstart.toml")
    assert (code, err) == (0, "")
    assert "head  32,768\n" in out
    assert call("test", "sizes")[0] == 0


def test_the_formula_of_the_tutorial_counts() -> None:
    import torch

    from resnetbk.metering.flops import FlopCounter

    names: dict[str, Any] = {}
    exec(block_of("docs/plugin.md", "# my_package/decay.py"), names)
    with FlopCounter() as counter:
        y = names["decay"](torch.tensor([[[1.0], [1.0], [1.0]]]), torch.tensor([0.5]))
    assert y.flatten().tolist() == [1.0, 1.5, 1.75]
    assert counter.flops == 2 * 3
    assert not counter.unknown


# ---------------------------------------------------------------- words

HAND_WRITTEN = ("py", "toml", "md", "cfg", "ini")
SCANNED = (
    *("*.md", "docs/*.md", "docs/decisions/*.md", "docs/results/*.md", "docs/*.py", "registry.toml"),
    *(f"{folder}/**/*.{kind}" for folder in ("core", "plugins", "tests") for kind in ("py", "in", "j2")),
    *(f"{folder}/**/*.{kind}" for folder in ("specs", "benchmarks", "examples") for kind in HAND_WRITTEN),
)
EXEMPT = {
    "docs/session.md": "what commands print, recorded",
    "tests/test_docs.py": "the list itself",
}
"""And why. docs/reference is written from docstrings, the pages in docs/results by their commands."""

BANNED = {
    r"c[ao]mes? to a|came to": "result, evaluation, comparison: what it is",
    r"held against": "baseline",
    r"(?:nats|bits) an? (?:token|byte|character)": "nats/token, bits/byte",
    r"numbers in a row": "model dimension",
    r"mend(?:s|ed|ing)?": "fix",
    r"dear(?:er|est)?": "expensive",
    r"made of": "consists of",
    r"(?<!torch.)(?<!floating-point.)operations": "FLOPs",
    r"arms?": "variant",
    r"(?<!math.)floors?": "n-gram baseline",
    r"doubts?": "uncertainty, score, calibration loss",
    r"(?:a|each|single|first) look": "calibration",
    r"source runs?": "parent run",
    r"words of .provides": "capabilities",
    r"in company": "in combination",
    r"the house": "layout, the project",
}
"""Patterns, as whole words, with what to write."""

CLEAN = sorted(
    {path for glob in SCANNED for path in ROOT.glob(glob) if path.is_file()}
    - {ROOT / path for path in EXEMPT}
)


@pytest.mark.parametrize("path", CLEAN, ids=name)
def test_words_are_those_of_the_field(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    mistakes = []
    for pattern, instead in BANNED.items():
        for found in re.finditer(rf"\b(?:{pattern})\b".replace(" ", r"\s+"), text, re.I | re.S):
            line = text.count("\n", 0, found.start()) + 1
            mistakes.append(f"{name(path)}:{line}: {found[0]!r}: write {instead}")
    assert not mistakes, "\n".join(mistakes)
