"""Reading one manifest: what comes out, and every mistake at once with its line."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnetbk.errors import UserError
from resnetbk.registry import CAPABILITIES, read_manifest

FULL = """\
schema = 1

[sequence-mixer.bk-causal]
use = "acme.mixers:Causal"
summary = "Diagonal of the one-sided resolvent: causal, O(N)"
provides = ["causal", "streaming"]
requires = ["ragged"]
conflicts = ["bidirectional"]
paper = "Somebody 2024"
default = true

[observer]
jsonl = { use = "acme.observers:Lines", summary = "Lines — of JSON", default = true }
bar = { use = "acme:Bar", summary = "A bar", paper = "", default = true }

[plugin]
name = "acme"
hooks = "acme.hooks"
"""

FAULTY = """\
schema = 1
[optimizer.a]
provides = ["causal",
            "cusal", 3]
colour = "red"

[sequence-mixr.x]
use = "a.b:C"

[halting-policy.never]
use = "a.b.c"
summary = "Never"
default = 1

[plugin]
hook = "a"
"""


def test_what_a_manifest_says(tmp_path):
    path = tmp_path / "registry.toml"
    path.write_text(FULL, encoding="utf-8")
    manifest = read_manifest(path, "acme", "1.2")
    assert manifest.hooks == "acme.hooks"
    mixer, jsonl, bar = manifest.entries
    assert attrs.asdict(mixer) == {
        "kind": "sequence-mixer",
        "name": "bk-causal",
        "plugin": "acme",
        "version": "1.2",
        "use": "acme.mixers:Causal",
        "summary": "Diagonal of the one-sided resolvent: causal, O(N)",
        "provides": frozenset({"causal", "streaming"}),
        "requires": frozenset({"ragged"}),
        "conflicts": frozenset({"bidirectional"}),
        "paper": "Somebody 2024",
        "default": True,
        "needs": (),
        "place": f"{path}:3",
    }
    assert (jsonl.name, jsonl.place, jsonl.provides) == ("jsonl", f"{path}:13", frozenset())
    assert (bar.name, bar.paper, bar.default) == ("bar", "", True)


def test_a_manifest_may_be_without_components_and_hooks(tmp_path):
    path = tmp_path / "registry.toml"
    path.write_text("schema = 1\n")
    manifest = read_manifest(path, "acme", "")
    assert (manifest.entries, manifest.hooks) == ((), None)


def test_every_mistake_is_reported_in_the_order_of_lines(tmp_path):
    path = tmp_path / "registry.toml"
    path.write_text(FAULTY)
    with pytest.raises(UserError) as error:
        read_manifest(path, "acme", "1.0")
    lines = str(error.value).replace(f"{path}:", "").splitlines()
    keys = "api, conflicts, default, needs, paper, provides, requires, summary, use"
    assert lines == [
        "2: optimizer.a: 'use' is missing",
        "2: optimizer.a: 'summary' is missing",
        "4: optimizer.a.provides: unknown capability 'cusal'; did you mean 'causal'?",
        f"4: optimizer.a.provides: unknown capability 3; allowed: {', '.join(sorted(CAPABILITIES))}",
        f"5: optimizer.a: unknown key 'colour'; allowed: {keys}",
        "7: unknown kind 'sequence-mixr'; did you mean 'sequence-mixer'?",
        "11: halting-policy.never.use: 'a.b.c' is no class; write \"package.module:Class\"",
        "13: halting-policy.never.default: must be true or false, not 1",
        "16: plugin: unknown key 'hook'; did you mean 'hooks'?",
    ]


def test_a_long_value_is_cut_short(tmp_path):
    path = tmp_path / "registry.toml"
    path.write_text(f"schema = 1\noptimizer = {list(range(500))}\n")
    with pytest.raises(UserError) as error:
        read_manifest(path, "acme", "1.0")
    assert str(error.value).startswith(f"{path}:2: optimizer: must be a table, not [0, 1, 2, ")
    assert len(str(error.value)) < len(str(path)) + 90


SCALARS = st.one_of(
    st.sampled_from(["a.b:C", "text", *CAPABILITIES]),
    st.booleans(),
    st.integers(-2, 2),
    st.just([]),
    st.just({}),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    tables=st.dictionaries(
        st.sampled_from(["optimizer.a", "optimizer.B", "corpus.c-1", "wonder.x", "plugin"]),
        st.dictionaries(
            st.sampled_from(["use", "summary", "provides", "paper", "default", "name", "hooks", "odd"]),
            SCALARS,
        ),
    )
)
def test_any_manifest_is_read_or_refused_line_by_line(tmp_path, tables):
    def value(scalar: object) -> str:
        return f'"{scalar}"' if isinstance(scalar, str) else str(scalar).lower()

    text = "schema = 1\n"
    for name, table in tables.items():
        text += f"[{name}]\n" + "".join(f"{key} = {value(scalar)}\n" for key, scalar in table.items())
    path = tmp_path / "registry.toml"
    path.write_text(text)
    try:
        manifest = read_manifest(path, "acme", "1.0")
    except UserError as refused:
        manifest, mistakes = None, refused.mistakes
    if manifest:
        assert len(manifest.entries) == len(tables.keys() - {"plugin"})
        assert all(entry.use and entry.summary for entry in manifest.entries)
    else:
        lines = [int(mistake.place.rpartition(":")[2]) for mistake in mistakes]
        assert lines == sorted(lines)
        assert lines[-1] <= text.count("\n")
        assert all(str(mistake).isprintable() for mistake in mistakes)


def test_what_a_component_needs_is_a_module_and_what_to_install(tmp_path) -> None:
    manifest = (
        'schema = 1\n[corpus.a]\nuse = "p:A"\nsummary = "s"\nneeds = { json = "x", nosuch = "pkg[more]" }\n'
    )
    (tmp_path / "registry.toml").write_text(manifest)
    entry = read_manifest(tmp_path / "registry.toml", "p", "1").entries[0]
    assert entry.needs == (("json", "x"), ("nosuch", "pkg[more]"))
    assert entry.missing() == ['needs nosuch, which is not installed: pip install "pkg[more]"']


@pytest.mark.parametrize("needs", ['"json"', "{ json = 1 }", '{ "a b" = "x" }', '{ json = "x; rm" }'])
def test_what_nothing_can_install_is_a_mistake(tmp_path, needs) -> None:
    manifest = f'schema = 1\n[corpus.a]\nuse = "p:A"\nsummary = "s"\nneeds = {needs}\n'
    (tmp_path / "registry.toml").write_text(manifest)
    with pytest.raises(UserError, match=r"registry.toml:5: corpus.a.needs: "):
        read_manifest(tmp_path / "registry.toml", "p", "1")
