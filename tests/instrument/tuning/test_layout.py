"""Values changed in a text that somebody laid out."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from resnetbk_instrument.tuning.layout import edited

ROOT = Path(__file__).parents[3]

BEFORE = """\
# what it is for
name = "quick"             # of the run

[data]
corpus   =  "docs"         # short for { use = "docs" }
window = 1_024

# the model
[model]
mixer = {use="bk",chains = 128}  # of Hamiltonians
channel = {use = "mlp"}

[train]
optimizer.use = "muon"     # dotted
optimizer.lr = 2e-2
observe = [
  "progress",  # on the screen
]
# the end
"""

AFTER = """\
seed = 3

# what it is for
name = "quick-tuned"             # of the run

[data]
corpus   =  { use = "docs", folder = "x" }         # short for { use = "docs" }
window = 1_024
order = [1, 2.0]

# the model
[model]
mixer = {use="bk",chains = 64}  # of Hamiltonians
channel = { use = "mlp", rate = 0.001 }

[train]
optimizer.use = "muon"     # dotted
optimizer.lr = 0.5
observe = [
  "progress",  # on the screen
]
# the end

[extra]
on = true
table = { a = 1 }
"""


def test_only_what_differs_is_changed() -> None:
    assert edited(BEFORE, tomllib.loads(AFTER)) == AFTER


def test_what_the_tree_lacks_is_taken_away() -> None:
    text = "a = 1 # one\nb = 2 # two\n\n[c]\nd = { e = 1, f = 2 }\n"
    assert edited(text, {"b": 2, "c": {"d": {"f": 2}}}) == "b = 2 # two\n\n[c]\nd = { f = 2 }\n"


@pytest.mark.parametrize(
    "text",
    [
        '[model.mixer]\nuse="x"\n\n# train\n[train]\na=1\n[model.gate]\nuse="y"\n',
        'model={mixer={use="x"}}\n',
        'model.mixer.use="x"\r\nname="s" # c\r\n',
        '[model]\nw=1\n\n[model.mixer]\nuse="x"\n[[train.observe]]\nuse="a"\n[[train.observe]]\nuse="b"\n',
        "a = 1",
        "",
    ],
)
def test_however_tables_are_written(text: str) -> None:
    tree = tomllib.loads(text)
    assert edited(text, tree) == text
    model = tree.setdefault("model", {})
    model["norm"] = "rms"
    model.setdefault("mixer", {})["chains"] = 1
    tree.setdefault("train", {})["observe"] = ["c"]
    assert tomllib.loads(edited(text, tree)) == tree


@pytest.mark.parametrize("path", sorted(ROOT.glob("specs/**/*.toml")), ids=lambda path: path.stem)
def test_our_specs_keep_every_other_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = tomllib.loads(text)
    tree["name"] = "other"
    tree.setdefault("train", {})["steps"] = 12_345
    result = edited(text, tree)
    assert tomllib.loads(result) == tree
    before, after = set(text.splitlines()), set(result.splitlines())
    assert {line.partition("=")[0].strip() for line in before - after} <= {"name", "steps"}
    assert {line.partition("=")[0].strip() for line in after - before} <= {"name", "steps", "[train]"}
