"""For every check of the conformance kit there is a component that fails it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.registry.lookup import Registry
from resnetbk_authoring.testing import all_components
from resnetbk_authoring.testing.subject import Subject
from resnetbk_authoring.testing.suite import Check, applicable, checks

MANIFEST = Path(__file__).parents[2] / "support" / "faulty" / "registry.toml"
REGISTRY = Registry.discover([MANIFEST])
FAULTS = {
    entry: entry.summary.removeprefix("fails at ") for entry in REGISTRY.entries() if entry.plugin == "faulty"
}
EXPECTED = {f"{entry.kind}/{entry.name}/{fault}": "its fault" for entry, fault in FAULTS.items()}


@all_components("faulty", registry=REGISTRY, expected_failures=EXPECTED)
def test_a_faulty_component_fails_at_its_fault_alone(component, check):
    check.run(component)


def test_every_check_has_one_that_fails_it():
    found = {(entry.kind, fault) for entry, fault in FAULTS.items()}
    asked = {(kind, check) for kind in KINDS for check in checks(kind)}
    assert {check.name for _, check in asked} == {fault for _, fault in found}
    # each kind is handed ragged rows in a way of its own
    assert {kind for kind, fault in found if fault == "ragged"} == {
        kind for kind, check in asked if check.name == "ragged"
    }


def test_every_word_that_ours_claim_is_measured():
    claimed = {
        (entry.kind, word)
        for entry in Registry.discover(allow=["resnetbk"]).entries()
        for word in entry.provides
    }
    measured = {(kind, check.capability) for kind in KINDS for check in checks(kind)}
    assert ("sparsity-gate", "ragged") in claimed
    assert not claimed - measured


def test_what_is_not_causal_is_put_to_all_else_that_it_claims():
    registry = Registry.discover(allow=["resnetbk"])
    subject = Subject.of(registry, registry.find("sequence-mixer", "bk-diagonal"))
    left_out = {check.name for check in checks("sequence-mixer")} - {c.name for c in applicable(subject)}
    assert left_out == {"causal", "streaming"}


def test_however_a_check_fails_it_says_why():
    def missing(subject):
        return {}["state"]

    with pytest.raises(AssertionError, match=r"^raised KeyError: 'state'$") as caught:
        Check(missing).run(None)
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_observer_may_look_at_the_spec(fake_plugin):
    fake_plugin(
        "nosy",
        manifest="""
            schema = 1
            [observer.nosy]
            use = "nosy.watch:Nosy"
            summary = "Reads all of the spec"
        """,
        modules={
            "watch": '''
                import attrs
                from resnetbk.hooks import hookimpl

                @attrs.frozen(kw_only=True)
                class Nosy:
                    """Keeps what it needs to know of a spec."""

                    def build(self, *, folder, spec):
                        assert folder.is_dir()
                        assert spec.name
                        assert spec.train.steps
                        assert spec.model.depth
                        assert [part.name for part in spec.train.observe] == ["nosy"]
                        return Watcher()

                class Watcher:
                    @hookimpl
                    def resnetbk_finished(self, run):
                        pass
            '''
        },
    )
    registry = Registry.discover()
    subject = Subject.of(registry, registry.find("observer", "nosy"))
    for check in applicable(subject):
        check.run(subject)


def test_expected_failures_are_strict_and_known():
    mark = all_components("faulty", registry=REGISTRY, expected_failures=EXPECTED)
    cases = mark.mark.args[1]
    marked = [case for case in cases if case.marks]
    assert len(marked) == len(FAULTS)
    assert all(case.marks[0].kwargs["strict"] for case in marked)
    with pytest.raises(UserError) as caught:
        all_components(
            "faulty", registry=REGISTRY, expected_failures={"leaking/causl": "?"}, settings={"x": {}}
        )
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        "faulty has nothing called 'x'",
        "faulty has nothing called 'leaking/causl'; did you mean 'leaking/causal'?",
    ]
    with pytest.raises(UserError, match="no plugin 'fault' with components or verbs; did you mean 'faulty'"):
        all_components("fault", registry=REGISTRY)


def test_the_command_says_what_fails(call):
    code, out, err = call("--registry", MANIFEST, "test", "leaking")
    assert code == 2
    assert err.startswith(("leaking: causal: in training, rows before", "leaking: causal: once"))
    assert "passed" in out
    assert "not provided" in out
    code, out, err = call("test", "mlp", "--set", "expansion=1.5")
    assert (code, err) == (0, "")
    code, _, err = call("test", "mlp", "--set", "expanson=1.5")
    assert (code, err) == (2, "resnetbk/mlp: unknown key 'expanson'; did you mean 'expansion'?\n")
