"""What the documents say is what is there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from resnetbk.cli import VERBS
from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry
from resnetbk.spec import Data, Model, Spec, Train, read, read_text
from resnetbk.testing.fixtures import FakePlugin

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SPECS = sorted((ROOT / "specs").rglob("*.toml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: str(path.relative_to(ROOT)))
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
    Path("bad.toml").write_text(bad)
    with pytest.raises(UserError) as caught:
        read("bad.toml", Registry.discover())
    assert str(caught.value) + "\n" == block


def test_the_readme_lists_every_verb() -> None:
    table = README.partition("## Verbs")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z]+)[ `]", table))
    assert {*VERBS, *(entry.name for entry in Registry.discover().entries("verb"))} <= listed


@pytest.mark.parametrize(
    "document",
    ["README.md", *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))],
)
def test_links_within_the_project_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("document", ["bk-core.md", "instrument.md", "learning.md", "skipping.md"])
def test_statements_name_tests_that_exist(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"\b(test_[a-z0-9_]+)\b(?!\.py)", text)
    assert named
    for name in named:
        assert f"def {name}(" in tests, name


def test_the_reference_is_what_its_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    folder = ROOT / "docs" / "reference"
    assert {path.name for path in folder.iterdir()} == set(script.pages())
    for name, text in script.pages().items():
        assert (folder / name).read_text(encoding="utf-8") == text, f"{name}: python docs/make_reference.py"


def test_the_tutorial_shows_the_files_of_the_example() -> None:
    text = (ROOT / "docs" / "plugin.md").read_text()
    shown = re.findall(r"```[a-z]+ title=\"([^\"]+)\"\n(.*?)```", text, re.DOTALL)
    assert len(shown) >= 3
    for name, code in shown:
        assert code == (ROOT / "examples" / "resnetbk-haar" / name).read_text(), name


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
