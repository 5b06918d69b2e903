"""`resnetbk dial`: what is saved at each place, in the terminal and as curves, and what is no dial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import measured
import pytest
from html_page import Page

from resnetbk_instrument.results.comparison import Comparison
from resnetbk_instrument.session.journal import Journal


def at(folder: Path, length: Any, speed: float = 2.0, *, reached: bool = True, **corpus: Any) -> Path:
    """The folder of a comparison there, of beta beside alpha."""
    made = measured.comparison(1.0, speed)
    tree = {"corpus": {"use": "needles", "length": length, **corpus}, "window": length}
    variants = [attrs.evolve(v, spec={**v.spec, "data": tree}) for v in made.variants]
    if not reached:
        why = "does not reach 1.88 nats/token: its best is 2.0000"
        variants = [
            attrs.evolve(v, saved={}, refused="" if number else why) for number, v in enumerate(variants)
        ]
    return finished(folder / f"{length}-{speed}", attrs.evolve(made, variants=tuple(variants)))


def finished(folder: Path, result: Any) -> Path:
    folder.mkdir(exist_ok=True)
    Journal(folder).finish(result)
    return folder


def test_what_is_saved_over_the_dial(call, tmp_path):
    places = [at(tmp_path, 64, 2.0), at(tmp_path, 16, 1.0), at(tmp_path, 256, 3.0, reached=False)]
    code, out, err = call("dial", *places, "--out", tmp_path / "new" / "d.html")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert out.startswith("times less than alpha over data.corpus.length\n")
    assert lines[2][:4] == ["16", "beta", "0.94x", "0.94x"]  # places in order, lower ends of intervals
    assert lines[3][:4] == ["64", "beta", "1.88x", "1.88x"]
    assert lines[4][:4] == ["256", "beta", "-", "-"]
    assert "length = 256: alpha: does not reach 1.88 nats/token: its best is 2.0000" in out
    text = (tmp_path / "new" / "d.html").read_text()
    page = Page(text)
    assert page.tags.count("svg") == 3  # time, FLOPs, tokens
    assert "2.00" in page.words
    assert "does not reach 1.88 nats/token: its best is 2.0000" in page.words
    assert measured.COMMAND in page.words
    code, out, _ = call("dial", *places, "--json")
    numbers = json.loads(out)
    assert (code, numbers["key"], len(numbers["places"])) == (0, "data.corpus.length", 3)
    assert numbers["places"][1]["variants"][1]["saved"]["flops"]["estimate"] == 2.0
    again = tmp_path / "again.html"
    call("dial", *reversed(places), "--key", "data.window", "--out", again)
    assert again.read_text() == text.replace("data.corpus.length", "data.window").replace("length", "window")


def test_a_place_at_0_and_a_key_of_a_part(call, tmp_path):
    places = [at(tmp_path, 8, skew=0.0), at(tmp_path, 8, 3.0, skew=2e6)]
    code, out, _ = call("dial", *places, "--out", tmp_path / "d.html")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["0", "2,000,000"]
    parts = [at(tmp_path, 8 + i, 1.5, parts=[{"use": "needles", "length": 16 * i}]) for i in (1, 2)]
    code, out, _ = call("dial", *parts, "--key", "data.corpus.parts[0].length", "--out", tmp_path / "p.html")
    assert (code, [line.split()[0] for line in out.splitlines()[2:4]]) == (0, ["16", "32"])
    code, _, err = call("dial", *parts, "--key", "data.corpus.lenght")
    assert (code, err) == (2, "alpha-against-beta: its first spec has no data.corpus.lenght\n")


def ablation(folder: Path) -> list[Path]:
    return [at(folder, 8), finished(folder / "ablation", measured.ablation())]


def at_equal_cost(folder: Path) -> list[Path]:
    made = measured.comparison(1.0, 2.0, equal=True)
    return [finished(folder / "one", made), finished(folder / "two", made)]


def to_another_target(folder: Path) -> list[Path]:
    made = measured.comparison(1.0, 2.0)
    return [
        at(folder, 8),
        finished(folder / "two", attrs.evolve(made, goal=attrs.evolve(made.goal, loss=1.5))),
    ]


def others(folder: Path) -> list[Path]:
    three: Comparison = measured.comparison(1.0, 2.0, 3.0)
    return [at(folder, 8), finished(folder / "three", three)]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda folder: [at(folder, 8)], "give two or more comparisons of specs with the same names"),
        (
            lambda folder: [at(folder, 8), at(folder, 8, 3.0)],
            "the comparisons have the same corpus: give the",
        ),
        (
            lambda folder: [at(folder, 8), at(folder, 9, noise=2)],
            "differ in data.corpus.length, data.corpus.noise",
        ),
        (
            lambda folder: [at(folder, "a"), at(folder, "b")],
            "data.corpus.length = 'a' in its first spec is no number from 0 up",
        ),
        (
            lambda folder: [at(folder, 8), at(folder, 9, 3.0), at(folder, 9)],
            "data.corpus.length = 9 in several",
        ),
        (ablation, "is an ablation; give comparisons"),
        (at_equal_cost, "is no comparison to a target"),
        (to_another_target, "comparisons of specs with the same names to the same target"),
        (others, "give two or more comparisons of specs with the same names"),
        (lambda folder: [at(folder, 8), folder / "gone"], "gone: no result of a comparison"),
    ],
)
def test_what_is_no_dial_is_refused(call, tmp_path, made, told):
    code, out, err = call("dial", *made(tmp_path), "--out", tmp_path / "d.html")
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "d.html").exists()
