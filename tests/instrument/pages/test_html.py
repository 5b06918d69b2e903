"""Templates escape what is put into them, are installed, and are read when a page is written alone."""

from __future__ import annotations

import configparser
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import jinja2
import pytest

from resnetbk_instrument import pages
from resnetbk_instrument.pages.html import Cell, Table, _environment, render

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "cell",
    ["<i>", Cell("<i>"), Cell("<i>", strong=True), Cell("<i>", hue=1), Cell("x", "<i>")],
)
def test_what_a_table_holds_is_escaped(cell):
    parts = _environment().get_template("parts.html.j2").module
    for table in (Table(["key", "it"], [["a", cell]]), Table(["<i>"], [["a"]])):
        text = parts.table(table)
        assert "<i>" not in text.replace('<i style="', "")
    assert "&lt;i&gt;" in text


def test_bars_are_in_percent_and_the_last_rows_of_less_weight():
    parts = _environment().get_template("parts.html.j2").module
    rows = [["a", Cell(meter=(40.0, 20.0)), "1"], ["b", Cell(meter=(100.0, 0.0)), "2"]]
    text = parts.table(Table(["", "", "n"], rows, words=2, quiet=1))
    assert '<i style="width: 40.0%"></i><i style="width: 20.0%"></i></div>' in text
    assert '<i style="width: 100.0%"></i></div>' in text
    assert text.count('class="number"') == 3
    assert text.index('<tr class="quiet">') > text.index(">1</td>")


def test_a_template_that_is_not_given_all_it_asks_for_makes_no_page():
    with pytest.raises(jinja2.UndefinedError, match="headline"):
        render("run", title="x", kind="run")


def test_what_pages_are_made_of_is_installed():
    setup = ROOT / "setup.cfg"
    if not setup.is_file():
        pytest.skip("not in a checkout")
    config = configparser.ConfigParser()
    config.read(setup)
    patterns = config["options.package_data"][pages.__name__].split(", ")
    (folder,) = map(Path, pages.__path__)
    others = {path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".py"}
    assert {"report.css", "layout.html.j2"} <= others
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_neither_jinja_nor_matplotlib_is_imported_before_a_page_is_written():
    code = (
        "import sys\nimport resnetbk_instrument.pages.write, resnetbk_instrument.pages.ablation\n"
        "import resnetbk_instrument.pages.run, resnetbk_instrument.cli.tables\n"
        "assert not {'jinja2', 'matplotlib', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
