"""Mutilated specs: whatever is done to a file, its reader is told lines with places, or gets a spec."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from resnetbk.errors import Mistake, UserError
from resnetbk.registry import Registry
from resnetbk.spec import Spec, read_text

GOOD = """\
name = "x"
seed = 7
[data]
corpus = "tiny"
tokenizer = { use = "bytes" }
window = 64
[model]
width = 8
depth = 2
norm = "rms"
mixer = { use = "rich", layers = [1, 2], pair = [1, "a"], table = { a = 1.5 }, style = { size = 3 } }
channel = "dense"
[model.halting]
use = "never"
[train]
steps = 100
seconds = 1.5
optimizer = { use = "descent", lr = 0.1 }
observe = ["progress", { use = "lines", lr = 1 }, "made-up/twice"]
"""
LINES = GOOD.splitlines()

values = st.sampled_from(
    [
        *(
            "1",
            "-1",
            "0",
            "2.5",
            "nan",
            "-inf",
            "1e400",
            "true",
            '""',
            '"x"',
            "'chain'",
            "1979-05-27",
            "07:32:00",
        ),
        *("[]", "{}", "[1, [2]]", "{ use = 1 }", '{ use = "chain", chains = [] }', "[[[[]]]]", '"""\n"""'),
        *(
            '["progress", "progres"]',
            "9223372036854775808",
            "0x" + "f" * 40,
            "1" * 4400,
            "[" * 200,
            "{a=" * 200,
        ),
        *('"two-sided"', '"broken"', '"failing"', '"unwritable"', '"unresolved"', '{ use = "rich", on = 1 }'),
    ]
)
keys = st.sampled_from(
    [
        *("name", "use", "model", "model.mixer", "model.mixer.chains", "data.corpus", "train.observe"),
        *(
            "train.observe.x",
            "extends",
            '"a\\nb"',
            "''",
            "x.y.z",
            "model.gate",
            "train.target",
            "model.halting.x",
        ),
    ]
)
texts = st.text(max_size=5)
noise = texts | st.sampled_from(
    ["\0", "\r", "'''", '"""', "=", "[[model]]", "[", "}", "#", "\ud800", "\\u12"]
)
lines = st.integers(0, len(LINES) - 1)

mutations = st.one_of(
    st.tuples(st.just("drop"), lines, st.none()),
    st.tuples(st.just("repeat"), lines, lines),
    st.tuples(st.just("value"), lines, values),
    st.tuples(st.just("insert"), lines, st.tuples(keys, values).map(" = ".join)),
    st.tuples(st.just("noise"), lines, st.tuples(noise, st.integers(0, 60))),
)


def mutilated(changes: list[tuple[str, int, object]]) -> str:
    text = [*LINES]
    for what, line, detail in changes:
        if what == "drop":
            text[line] = ""
        elif what == "repeat":
            text[line] = LINES[int(str(detail))]
        elif what == "value":
            text[line] = f"{text[line].partition('=')[0]}= {detail}"
        elif what == "insert":
            text[line] += f"\n{detail}"
        elif isinstance(detail, tuple):
            text[line] = text[line][: detail[1]] + detail[0] + text[line][detail[1] :]
    return "\n".join(text)


def told(text: str, registry: Registry, sets: list[str]) -> None:
    mistakes: tuple[Mistake, ...] = ()
    try:
        assert isinstance(read_text(text, registry, "f", sets), Spec)
    except UserError as error:
        mistakes = error.mistakes or (Mistake("", "nothing"),)
    for mistake in mistakes:
        place, _, line = mistake.place.rpartition(":")
        in_text = place == "f" and 1 <= int(line) <= 2 + text.count("\n")
        assert in_text or mistake.place.startswith("--set ")
        assert str(mistake).isprintable()
        assert len(mistake.message) < 500


THOROUGH = settings(max_examples=500 if os.environ.get("CI") else 100, deadline=None)


def test_the_text_to_start_from_is_good(registry: Registry) -> None:
    assert isinstance(read_text(GOOD, registry), Spec)


@THOROUGH
@given(st.lists(mutations, min_size=1, max_size=4))
def test_a_mutilated_spec_is_told_of_or_read(
    registry: Registry, changes: list[tuple[str, int, object]]
) -> None:
    told(mutilated(changes), registry, [])


@THOROUGH
@given(st.lists(st.tuples(keys, values | noise).map("=".join) | texts, min_size=1, max_size=3))
def test_a_mad_set_is_told_of_or_read(registry: Registry, sets: list[str]) -> None:
    told(GOOD, registry, sets)
