"""The colours of the pages can be read on their paper, and told apart by the colour-blind, in both themes."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from resnetbk_instrument import pages
from resnetbk_instrument.pages.svg import HUES, PHASES

CSS = (Path(pages.__file__).parent / "report.css").read_text(encoding="utf-8")
SIGHT = {
    "all colours": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""Linear RGB as it is seen (Machado, Oliveira and Fernandes, 2009)."""


def theme(name: str) -> dict[str, np.ndarray]:
    """Variables that are colours, in linear RGB."""
    light, dark = CSS.split("@media screen and (prefers-color-scheme: dark)")
    declared = re.findall(r"--([\w-]+): #([0-9a-f]{6});", light if name == "light" else dark)
    return {variable: _linear(digits) for variable, digits in declared}


def _linear(digits: str) -> np.ndarray:
    values = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """As WCAG 2 defines it, from 1 to 21."""
    dark, light = sorted(float(color @ [0.2126, 0.7152, 0.0722]) for color in (a, b))
    return (light + 0.05) / (dark + 0.05)


def oklab(color: np.ndarray) -> np.ndarray:
    """Where distances are what is seen, about 0.02 of them noticed."""
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    mixed = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return mixed @ np.cbrt(cones @ np.clip(color, 0, 1))


@pytest.mark.parametrize("name", ["light", "dark"])
def test_words_can_be_read(name):
    colors = theme(name)
    for variable in ("ink", "muted", *(f"hue-{i}" for i in range(HUES))):
        assert contrast(colors[variable], colors["paper"]) >= 4.5, variable
    phases = [colors[f"phase-{i}"] for i in range(PHASES)]
    assert all(contrast(color, colors["paper"]) >= 4.5 for color in phases[:-1])  # words in bars are paper
    assert contrast(phases[-1], colors["ink"]) >= 4.5  # or ink, in the last
    assert contrast(phases[-1], colors["paper"]) >= 3.0


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_phases_can_be_told_apart(name, sight):
    phases = [np.asarray(SIGHT[sight]) @ theme(name)[f"phase-{i}"] for i in range(PHASES)]
    for (i, a), (j, b) in itertools.combinations(enumerate(phases), 2):
        assert np.linalg.norm(oklab(a) - oklab(b)) >= 0.1, (i, j)
