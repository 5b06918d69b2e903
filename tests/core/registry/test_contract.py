"""What components promise each other, checked on sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resnetbk.registry import CAPABILITIES, Entry, breaches

LANGUAGE = {"causal": "a language model may not see the tokens it predicts"}


def part(name: str, provides: str = "", requires: str = "", conflicts: str = "") -> Entry:
    provided, required, refused = (frozenset(words.split()) for words in (provides, requires, conflicts))
    return Entry("sequence-mixer", name, "acme", "1.0", "a:B", "Some", provided, required, refused)


def test_a_bidirectional_mixer_is_refused_for_language_modelling():
    parts = {"model.mixer": part("bk-diagonal", "bidirectional"), "model.gate": part("open", "causal")}
    message = "bk-diagonal does not provide 'causal': a language model may not see the tokens it predicts"
    assert breaches(parts, LANGUAGE) == [("model.mixer", message)]
    assert breaches(parts, {}) == []


def test_a_goal_binds_the_model_alone():
    parts = {
        "data.selector": part("shuffle"),
        "train.gradient": part("backprop"),
        "model.mixer": part("m", "causal"),
    }
    assert breaches(parts, LANGUAGE) == []


def test_what_a_part_requires_is_asked_of_every_other_part_of_the_model():
    parts = {
        "model.halting": part("act", requires="ragged"),
        "model.mixer": part("plain"),
        "model.channel": part("mlp", "ragged"),
        "data.selector": part("shuffle"),
    }
    message = "act requires 'ragged', which model.mixer = plain does not provide"
    assert breaches(parts, {}) == [("model.halting", message)]


def test_what_a_part_conflicts_with_is_provided_by_no_other_part_of_the_model():
    parts = {
        "train.gradient": part("reuse", "deterministic", conflicts="deterministic streaming"),
        "model.mixer": part("m", "streaming causal"),
        "data.selector": part("shuffle", "deterministic"),
    }
    message = (
        f"reuse conflicts with 'streaming' ({CAPABILITIES['streaming']}), which model.mixer = m provides"
    )
    assert breaches(parts, {}) == [("train.gradient", message)]


def test_every_breach_is_named():
    parts = {"model.mixer": part("m", requires="causal ragged"), "model.gate": part("g")}
    assert [key for key, _ in breaches(parts, LANGUAGE)] == [
        "model.mixer",
        "model.gate",
        "model.mixer",
        "model.mixer",
    ]


def test_every_capability_of_a_goal_is_said_with_its_reason():
    goal = {capability: f"for {capability}" for capability in CAPABILITIES}
    messages = [message for _, message in breaches({"model.mixer": part("m")}, goal)]
    assert messages == [f"m does not provide '{name}': for {name}" for name in sorted(CAPABILITIES)]


KEYS = ["model.mixer", "model.gate", "model.channel", "data.selector", "train.gradient"]
SETS = st.frozensets(st.sampled_from(sorted(CAPABILITIES)))
PARTS = st.dictionaries(
    st.sampled_from(KEYS),
    st.builds(lambda p, r, c: part("x", " ".join(p), " ".join(r), " ".join(c)), SETS, SETS, SETS),
)


GOALS = SETS.map(lambda names: dict.fromkeys(names, "needed"))


@given(parts=PARTS, goal=GOALS)
def test_no_breach_means_that_all_promises_hold(parts, goal):
    model = {key for key in parts if key.startswith("model.")}
    hold = all(
        goal.keys() <= parts[key].provides
        and all(
            parts[owner].requires <= parts[key].provides and not parts[owner].conflicts & parts[key].provides
            for owner in parts
            if owner != key
        )
        for key in model
    )
    assert (breaches(parts, goal) == []) == hold


@given(parts=PARTS, goal=GOALS, capability=st.sampled_from(sorted(CAPABILITIES)))
def test_a_larger_goal_never_fixes_a_breach(parts, goal, capability):
    assert set(breaches(parts, goal)) <= set(breaches(parts, goal | {capability: "needed"}))
