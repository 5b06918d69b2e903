"""Which checks a component must pass, and how a plugin's own tests run them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import attrs

from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.registry.entry import VERB, Entry
from resnetbk.registry.lookup import Registry
from resnetbk_authoring.testing import component_checks as component
from resnetbk_authoring.testing import data_checks as data
from resnetbk_authoring.testing import model_checks as model
from resnetbk_authoring.testing import policy_checks as policy
from resnetbk_authoring.testing import training_checks as training
from resnetbk_authoring.testing import verb_checks as verb
from resnetbk_authoring.testing.ragged_checks import ragged
from resnetbk_authoring.testing.subject import Subject
from resnetbk_authoring.testing.verb_checks import VerbSubject


@attrs.frozen
class Check:
    """A behaviour that is tested; with a capability, only of components that provide it.

    function  raises an exception when the component fails
    """

    function: Callable[[Any], None]
    capability: str = ""

    @property
    def name(self) -> str:
        return self.function.__name__.replace("_", "-")

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def run(self, subject: Subject | VerbSubject) -> None:
        """Raises AssertionError, saying what is wrong; an error of the component's own is its cause."""
        try:
            self.function(subject)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"raised {type(error).__name__}: {error}") from error


EVERY = tuple(map(Check, (component.documented, component.frozen, component.spec_round_trip)))

_MODEL = (
    Check(model.shapes),
    Check(model.any_length, "any-length"),
    Check(model.causal, "causal"),
    Check(model.streaming, "streaming"),
    Check(model.batch_independent),
    Check(ragged, "ragged"),
    Check(model.reproducible, "deterministic"),
    Check(model.gradients),
    Check(model.roles),
    Check(model.saved),
    Check(model.half_precision),
    Check(model.skipped_rows),
    Check(model.empty_batch),
)

_VERB = tuple(map(Check, (verb.documented, verb.unknown_options_refused, verb.imports_no_torch)))

_ALONE = {
    "sequence-mixer": (Check(model.bidirectional, "bidirectional"),),
    "halting-policy": (Check(policy.weights_sum_to_one), Check(policy.halting_is_final)),
    "resolution-scheduler": (Check(policy.coarse_rows_are_fewer, "multi-resolution"),),
    "sparsity-gate": (Check(policy.no_wasted_rows),),
    "corpus": (
        Check(data.valid_text),
        Check(data.fitting_labels),
        Check(data.labelled, "labels"),
        Check(data.reproducible_text, "deterministic"),
    ),
    "tokenizer": (
        Check(data.round_trip),
        Check(data.token_by_token),
        Check(data.reproducible_tokens, "deterministic"),
        Check(data.restored),
        Check(data.tokens_are_bytes, "byte-level"),
    ),
    "data-selector": (
        Check(data.windows_in_range),
        Check(data.reproducible_windows, "deterministic"),
        Check(data.resumed),
        Check(data.text_unchanged),
    ),
    "gradient-strategy": (
        Check(training.finite_gradients),
        Check(training.reproducible_gradients, "deterministic"),
        Check(training.shares_average, "data-parallel"),
        Check(training.strategy_resumed),
    ),
    "optimizer": (
        Check(training.lowers_loss),
        Check(training.no_update_without_gradient),
        Check(training.reproducible_updates, "deterministic"),
        Check(training.optimizer_resumed),
    ),
    "initializer": (Check(training.reports_in_lines), Check(training.reproducible_start, "deterministic")),
    "observer": (Check(training.implements_hooks),),
}


def checks(kind: str) -> tuple[Check, ...]:
    """All checks of a component of `kind`, or of a verb."""
    if kind == VERB:
        return _VERB
    in_model = _MODEL if KINDS[kind].key.startswith("model.") else ()
    return (*EVERY, *in_model, *_ALONE.get(kind, ()))


def subject_of(
    registry: Registry, entry: Entry, settings: Mapping[str, Any] | None = None
) -> Subject | VerbSubject:
    """What the checks of a component or a verb are handed. Raises UserError when it cannot be loaded."""
    if entry.kind == VERB:
        return VerbSubject(entry, registry.load_verb(entry))
    return Subject.of(registry, entry, settings)


def applicable(subject: Subject | VerbSubject) -> Iterator[Check]:
    """Those of its kind, and of the capabilities that it provides."""
    provided = {"", *subject.entry.provides}
    return (check for check in checks(subject.entry.kind) if check.capability in provided)


def all_components(
    plugin: str,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    skipped: Mapping[str, str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    registry: Registry | None = None,
) -> Any:
    """Parametrises a pytest function `(component, check)` with every check of all components and verbs of a
    plugin::

        from resnetbk_authoring.testing import all_components

        @all_components("my-package", expected_failures={"causal": "looks ahead by design"})
        def test_conformance(component, check):
            check.run(component)

    settings           keys to test components with; those that have required keys need some
    skipped            reasons why components are not tested here
    expected_failures  reasons by check, or by "component/check". Strict: one that passes is an error;
                       by what error the others fail is no matter

    Components are called by their names, or by "kind/name" where two kinds have one. Raises UserError for
    names that mean nothing.
    """
    import pytest

    registry = registry or Registry.discover()
    given, left_out, reasons = dict(settings or {}), dict(skipped or {}), dict(expected_failures or {})
    entries = [e for e in (*registry.entries(), *registry.entries(VERB)) if e.plugin == plugin]
    if not entries:
        hint = nearest(plugin, [plugin.name for plugin in registry.plugins])
        raise UserError(f"no plugin {plugin!r} with components or verbs{hint}")
    cases, asked = [], set[str]()

    def reason(table: Mapping[str, Any], *names: str) -> Any:
        asked.update(names)
        return next((table[name] for name in names if name in table), None)

    for entry in entries:
        names = (f"{entry.kind}/{entry.name}", entry.name)
        keys, why = reason(given, *names), reason(left_out, *names)
        if why:
            continue
        subject = subject_of(registry, entry, keys)
        for check in applicable(subject):
            expected = reason(reasons, *(f"{name}/{check.name}" for name in names), check.name)
            mark = pytest.mark.xfail(reason=expected, raises=AssertionError, strict=True)
            name = f"{names[0]}/{check.name}"
            cases.append(pytest.param(subject, check, marks=[mark] if expected else [], id=name))
    unknown = [name for table in (given, left_out, reasons) for name in table if name not in asked]
    if unknown:
        close = {name: nearest(name, asked) if get_close_matches(name, asked) else "" for name in unknown}
        raise UserError(*(f"{plugin} has nothing called {name!r}{hint}" for name, hint in close.items()))
    return pytest.mark.parametrize(("component", "check"), cases)
