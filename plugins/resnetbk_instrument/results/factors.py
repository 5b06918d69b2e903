"""What an ablation takes apart: the parts in which a spec differs from plain, and the specs between."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from resnetbk import toml_write
from resnetbk.errors import UserError, nearest
from resnetbk.kinds import KINDS
from resnetbk.lock.lock import plain as plain_tree
from resnetbk.registry.lookup import Registry
from resnetbk.spec.document import Document, Place
from resnetbk.spec.read import finish
from resnetbk.spec.spec import Spec, keyed

Tree = dict[str, Any]

GROUPS = {"model.wiring": "layout", "model.norm": "layout", "model.norm_eps": "layout", "model.tie": "layout"}
"""Keys that are one factor together; every other key is one of its own."""

SAME = {"data.corpus", "data.tokenizer"}
"""What must not differ: another text or tokenizer would be another task."""

ASIDE = {
    "evaluate",
    "save",
    "keep",
    "steps",
    "seconds",
    "target",
    "target_accuracy",
    "nonfinite",
    "log_every",
    "observe",
}
"""Keys of [train] that a comparison sets itself, or that change no number."""

SECTIONS = ("data", "model", "train")

_PARTS = {kind.key for kind in KINDS.values()}


@attrs.frozen
class Difference:
    """A factor: its keys, and their values without it and with it, in words."""

    name: str
    keys: tuple[str, ...]
    what: str


@attrs.frozen
class Design:
    """The variants of an ablation, and the factors that each has.

    variants  specs by name: "base", "only X", "all but X", "all"; one of two equal ones is left out
    name_of   for each set of factors the name of its variant
    left_out  combinations that were refused, and why
    """

    factors: tuple[Difference, ...]
    variants: Mapping[str, Spec]
    name_of: Mapping[frozenset[str], str]
    left_out: Mapping[str, str]


def design_ablation(
    spec: Spec, base: Spec | None, registry: Registry, sets: Sequence[tuple[str, str]] = ()
) -> Design:
    """Everything that is in `spec` and not in `base`; or, without one, that is no default of the registry.

    sets  settings of single variants, ("all but gate", "train.optimizer.lr=0.02"): of what a variant has,
          not what it has

    Raises UserError when there is nothing, when text or tokenizer differ, or for a set that cannot be.
    """
    full = _tree(spec, registry)
    if base is None:
        bare = copy.deepcopy(full)
        for key in _PARTS - SAME:
            if _chosen(spec, key, registry):
                _set(bare, key, None)  # the default is filled in
        if spec.train.precision == "bf16":  # the default may be just that here
            _set(bare, "train.precision", "fp32")
        plain = _tree(_spec(bare, registry), registry)
    else:
        plain = _tree(base, registry)
    factors = _differences(plain, full)
    if not factors:
        against = "the other spec" if base else "the defaults: name another spec with --against"
        raise UserError(f"{spec.name}: nothing to take apart, it does not differ from {against}")
    names = [factor.name for factor in factors]
    combinations = [("base", frozenset[str]())]
    combinations += [(f"only {name}", frozenset({name})) for name in names]
    combinations += [(f"all but {name}", frozenset(names) - {name}) for name in names]
    combinations += [("all", frozenset(names))]
    if len(names) == 1:
        combinations = [combinations[0], combinations[-1]]
    variants: dict[str, Spec] = {}
    name_of: dict[frozenset[str], str] = {}
    left_out: dict[str, str] = {}
    tried: set[frozenset[str]] = set()
    for name, subset in combinations:
        if subset in tried:
            continue
        tried.add(subset)
        try:
            combined = spec if name == "all" else _spec(_mixed(plain, full, factors, subset), registry)
        except UserError as error:
            if not subset:
                raise UserError(
                    f"the spec without all of {', '.join(names)} is refused: {_reason(error)}"
                ) from None
            left_out[name] = _reason(error)
            continue
        variants[name] = combined
        name_of[subset] = name
    return Design(factors, _set_in(variants, sets, factors, registry), name_of, left_out)


def _set_in(
    variants: Mapping[str, Spec],
    sets: Sequence[tuple[str, str]],
    factors: tuple[Difference, ...],
    registry: Registry,
) -> dict[str, Spec]:
    """The variants with what is set in single ones of them. All mistakes at once."""
    mistakes: list[str] = []
    changed = dict(variants)
    fixed = {key for factor in factors for key in factor.keys}
    for name in dict.fromkeys(name for name, _ in sets):
        if name not in variants:
            mistakes.append(f"--set-in: there is no variant {name!r}{nearest(name, variants)}")
            continue
        before = _tree(variants[name], registry)
        try:
            own = [assignment for variant, assignment in sets if variant == name]
            changed[name] = _spec(before, registry, own)
        except UserError as error:
            mistakes += [f"--set-in: {name}: {mistake}" for mistake in error.mistakes]
            continue
        after = _tree(changed[name], registry)
        mistakes += [
            f"--set-in: {name}: {key} is no setting of what this variant has: it would be another factor"
            for key in (f"{section}.{field}" for section in SECTIONS for field in after[section])
            if _get(before, key) != _get(after, key) and not _is_setting(before, after, key, fixed)
        ]
    if mistakes:
        raise UserError(*mistakes)
    return changed


def _is_setting(before: Tree, after: Tree, key: str, fixed: set[str]) -> bool:
    """Whether what changed at a key leaves the variant what it is: the settings of a component that stays, or
    how it is trained, where that is no factor."""
    was, now = _get(before, key), _get(after, key)
    if isinstance(was, dict) and key in _PARTS:
        return key not in SAME and isinstance(now, dict) and was["use"] == now["use"]
    if isinstance(was, list) and isinstance(now, list) and key in _PARTS:
        return [(e["use"], e.get("layers")) for e in was] == [(e["use"], e.get("layers")) for e in now]
    return key.startswith("train.") and key not in fixed


def _chosen(spec: Spec, key: str, registry: Registry) -> bool:
    """Whether a spec has another component than the default of its kind, where there is one."""
    section, field = key.split(".")
    entries = [part.entry for _, part in keyed(key, getattr(getattr(spec, section), field))]
    defaults = registry.defaults(entries[0].kind) if entries else ()
    return len(defaults) == 1 and set(entries) != set(defaults)


def _differences(plain: Tree, full: Tree) -> tuple[Difference, ...]:
    keys: dict[str, list[str]] = {}
    for section in SECTIONS:
        for field in dict.fromkeys([*full[section], *plain[section]]):
            key = f"{section}.{field}"
            if _get(plain, key) == _get(full, key) or (section == "train" and field in ASIDE):
                continue
            if key in SAME:
                raise UserError(f"{key}: differs, and another text or tokenizer is another task")
            keys.setdefault(GROUPS.get(key, field), []).append(key)
    return tuple(
        Difference(name, tuple(group), f"{_words(plain, full, group)} -> {_words(full, plain, group)}")
        for name, group in keys.items()
    )


def _words(tree: Tree, other: Tree, keys: list[str]) -> str:
    """What `tree` has at `keys`: a component by name, with the settings that the other has otherwise."""
    said = []
    for key in keys:
        value, beside = _get(tree, key), _get(other, key)
        if isinstance(value, dict) and key in _PARTS:
            said.append(_component(value, beside))
        elif isinstance(value, list) and key in _PARTS:
            others = beside if isinstance(beside, list) else []
            pairs = itertools.zip_longest(value, others[: len(value)])
            entries = [_component(entry, other, ("layers",)) for entry, other in pairs]
            said.append(f"[{', '.join(entries)}]")
        else:
            said.append(f"{key.split('.')[1]}={_plain(value)}" if len(keys) > 1 else _plain(value))
    return " ".join(said)


def _component(table: Tree, other: Any, always: tuple[str, ...] = ()) -> str:
    """Its name, with the settings that the other has otherwise, if that is the same component, and some
    always."""
    same = isinstance(other, dict) and other["use"] == table["use"]
    said = [k for k, v in table.items() if k in always or (same and other.get(k) != v)]
    return " ".join([table["use"], *(f"{k}={_plain(table[k])}" for k in said)])


def _plain(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else toml_write.inline(value)


def _mixed(plain: Tree, full: Tree, factors: tuple[Difference, ...], subset: frozenset[str]) -> Tree:
    """The spec with the factors of `subset`. What is no factor, its steps above all, is of the spec that it
    is closer to."""
    near_plain = not subset or (len(subset) == 1 and len(factors) > 1)
    tree = copy.deepcopy(plain if near_plain else full)
    for factor in factors:
        for key in factor.keys:
            _set(tree, key, copy.deepcopy(_get(full if factor.name in subset else plain, key)))
    return tree


def _tree(spec: Spec, registry: Registry) -> Tree:
    tree: Tree = plain_tree(spec, registry)
    return tree


def _spec(tree: Tree, registry: Registry, sets: Sequence[str] = ()) -> Spec:
    return finish(Document(tree, {}, Place("<spec>", 0)), registry, sets)


def _get(tree: Tree, key: str) -> Any:
    section, field = key.split(".")
    return tree[section].get(field)


def _set(tree: Tree, key: str, value: Any) -> None:
    """Sets a key, or takes it away for None."""
    section, field = key.split(".")
    tree[section].pop(field, None)
    if value is not None:
        tree[section][field] = value


def _reason(error: UserError) -> str:
    return "; ".join(mistake.message for mistake in error.mistakes)
