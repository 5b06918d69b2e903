"""For every check of the conformance kit there is a component that fails it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.registry.lookup import Registry
from resnetbk.testing import all_components
from resnetbk.testing.subject import Subject
from resnetbk.testing.suite import applicable, checks

MANIFEST = Path(__file__).parents[2] / "support" / "faulty" / "registry.toml"
REGISTRY = Registry.discover([MANIFEST])
FAULTY = [entry for entry in REGISTRY.entries() if entry.plugin == "faulty"]
LEAD = "fails at "


def failed(entry):
    subject = Subject.of(REGISTRY, entry)
    found = set()
    for check in applicable(subject):
        try:
            check.run(subject)
        except Exception:
            found.add(check.name)
    return found


@pytest.mark.parametrize("entry", FAULTY, ids=lambda entry: entry.name)
def test_a_faulty_component_fails_at_its_fault_alone(entry):
    assert failed(entry) == {entry.summary.removeprefix(LEAD)}


def test_every_check_has_one_that_fails_it():
    assert {check.name for kind in KINDS for check in checks(kind)} == {
        entry.summary.removeprefix(LEAD) for entry in FAULTY
    }


def test_expected_failures_are_strict_and_known():
    expected = {f"{entry.name}/{entry.summary.removeprefix(LEAD)}": "its fault" for entry in FAULTY}
    mark = all_components("faulty", registry=REGISTRY, expected_failures=expected)
    cases = mark.mark.args[1]
    marked = [case for case in cases if case.marks]
    assert len(marked) == len(FAULTY)
    assert all(case.marks[0].kwargs["strict"] for case in marked)
    with pytest.raises(UserError) as caught:
        all_components(
            "faulty", registry=REGISTRY, expected_failures={"leaking/causl": "?"}, settings={"x": {}}
        )
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        "faulty has nothing called 'x'",
        "faulty has nothing called 'leaking/causl'; did you mean 'leaking/causal'?",
    ]
    with pytest.raises(UserError, match="no plugin 'fault' with components; did you mean 'faulty'"):
        all_components("fault", registry=REGISTRY)


def test_the_command_says_what_fails(call):
    code, out, err = call("--registry", MANIFEST, "test", "leaking")
    assert code == 2
    assert err.startswith(("leaking: causal: in training, rows before", "leaking: causal: once"))
    assert "passed" in out
    assert "not claimed" in out
    code, out, err = call("test", "mlp", "--set", "expansion=1.5")
    assert (code, err) == (0, "")
    code, _, err = call("test", "mlp", "--set", "expanson=1.5")
    assert (code, err) == (2, "resnetbk/mlp: unknown key 'expanson'; did you mean 'expansion'?\n")
