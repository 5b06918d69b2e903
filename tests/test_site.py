"""The documents as a site: what mkdocs does not check itself."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PICTURES = sorted(DOCS.glob("*.svg"))


def test_the_site_brings_the_files_that_it_names() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"\bsite/[\w-]+\.(?:css|js|py)", config)
    assert len(named) == len(list((DOCS / "site").glob("*.*"))) == 3
    assert all((DOCS / name).is_file() for name in named)
    assert "http" not in config  # it is read without a network


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_has_paper_of_its_own(path: Path) -> None:
    """It is readable in a light and a dark page: its first shape is filled and covers it."""
    root = ElementTree.parse(path).getroot()
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    shape = next(
        each
        for each in root.iter()
        if each.tag.rpartition("}")[2] in ("rect", "path") and "fill" in _style(each)
    )
    assert _style(shape)["fill"] != "none"
    ends = [float(number) for number in re.findall(r"[\d.]+", shape.get("d", ""))]
    covers = ends or [float(shape.attrib["width"]), float(shape.attrib["height"])]
    assert max(covers) >= 0.98 * max(width, height)


def _style(element: ElementTree.Element) -> dict[str, str]:
    pairs = (pair.split(":") for pair in element.get("style", "").split(";") if ":" in pair)
    return {**element.attrib, **{name.strip(): value.strip() for name, value in pairs}}
