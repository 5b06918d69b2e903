"""One faulty plugin: explained in one line, and no other is harmed."""

from __future__ import annotations

import importlib
import sys

import pytest

from resnetbk.errors import UserError
from resnetbk.registry import Registry

GOOD = 'schema = 1\n[optimizer.good]\nuse = "good.parts:Good"\nsummary = "Works"\n'
HEAD = 'schema = 1\n[optimizer.x]\nuse = "bad.parts:X"\nsummary = "Some"\n'

FAULTS = {
    "empty": ("", "1: schema: the file must say schema = 1"),
    "no schema": ('[optimizer.x]\nuse = "a.b:C"\nsummary = "s"', "1: schema: the file must say schema = 1"),
    "schema in words": ('\nschema = "1"', "2: schema: the file must say schema = 1"),
    "schema true": ("schema = true", "1: schema: the file must say schema = 1"),
    "newer": (
        "schema = 2\n[wonder.x]",
        "1: schema: 2 is newer than 1, the newest known here; upgrade resnetbk",
    ),
    "older": ("schema = 0\n[wonder.x]", "1: schema: 0 is older than 1, the oldest known; upgrade bad"),
    "no TOML": ("schema = 1\noptimizer = [", "2: not valid TOML: "),
    "a key twice": (HEAD + 'use = "a:B"', "5: not valid TOML: "),
    "a long number": ("schema = " + "1" * 5000, "1: a number with thousands of digits"),
    "too deep": ("schema = 1\nx = " + "[" * 2000, "2: nested deeper than 32 levels"),
    "too large": ("#" * 300_000, " is larger than 128 KiB"),
    "unknown kind": (
        'schema = 1\n[optimiser.x]\nuse = "a:B"',
        "2: unknown kind 'optimiser'; did you mean 'optimizer'?",
    ),
    "kind is no table": ("schema = 1\noptimizer = 3", "2: optimizer: must be a table, not 3"),
    "component is no table": ("schema = 1\n[optimizer]\nx = 3", "3: optimizer.x: must be a table, not 3"),
    "array of tables": ("schema = 1\n[[optimizer.x]]", "2: optimizer.x: must be a table, not [{}]"),
    "name with capitals": (
        'schema = 1\n[optimizer.SGD]\nuse = "a:B"\nsummary = "s"',
        "2: optimizer: 'SGD' is no name for a component; write a-z, 0-9 and \"-\"",
    ),
    "name with a slash": (
        'schema = 1\n[optimizer."a/b"]\nuse = "a:B"\nsummary = "s"',
        "2: optimizer: 'a/b' is no name for a component; write a-z, 0-9 and \"-\"",
    ),
    "name with a line break": (
        'schema = 1\n[optimizer."a\\nb"]\nuse = "a:B"\nsummary = 3',
        "2: optimizer: 'a\\nb' is no name for a component; write a-z, 0-9 and \"-\" (and 1 more)",
    ),
    "no use": ('schema = 1\n[optimizer.x]\nsummary = "s"', "2: optimizer.x: 'use' is missing"),
    "no summary": ('schema = 1\n[optimizer.x]\nuse = "a.b:C"', "2: optimizer.x: 'summary' is missing"),
    "empty summary": (
        'schema = 1\n[optimizer.x]\nuse = "a.b:C"\nsummary = " "',
        "4: optimizer.x.summary: must be one line of text, not ' '",
    ),
    "summary of two lines": (
        'schema = 1\n[optimizer.x]\nuse = "a.b:C"\nsummary = """a\nb"""',
        "4: optimizer.x.summary: must be one line of text, not 'a\\nb'",
    ),
    "use is no text": (
        'schema = 1\n[optimizer.x]\nuse = 3\nsummary = "s"',
        "3: optimizer.x.use: must be one line of text, not 3",
    ),
    "use without class": (
        'schema = 1\n[optimizer.x]\nuse = "a.b"\nsummary = "s"',
        "3: optimizer.x.use: 'a.b' is no class; write \"package.module:Class\"",
    ),
    "use with a call": (
        'schema = 1\n[optimizer.x]\nuse = "a.b:C()"\nsummary = "s"',
        "3: optimizer.x.use: 'a.b:C()' is no class; write \"package.module:Class\"",
    ),
    "use of a relative module": (
        'schema = 1\n[optimizer.x]\nuse = ".b:C"\nsummary = "s"',
        "3: optimizer.x.use: '.b:C' is no class; write \"package.module:Class\"",
    ),
    "unknown key": (HEAD + "provide = []", "5: optimizer.x: unknown key 'provide'; did you mean 'provides'?"),
    "unknown capability": (
        HEAD + 'provides = [\n  "any-length",\n  "casual",\n]',
        "7: optimizer.x.provides: unknown capability 'casual'; did you mean 'causal'?",
    ),
    "unknown capability required": (
        HEAD + 'requires = ["fast"]',
        "5: optimizer.x.requires: unknown capability 'fast'; allowed: any-length, bidirectional, byte-level, "
        "causal, data-parallel, deterministic, labels, multi-resolution, ragged, streaming",
    ),
    "word is no list": (
        HEAD + 'conflicts = "causal"',
        "5: optimizer.x.conflicts: must be a list of capabilities, not 'causal'",
    ),
    "word is a number": (
        HEAD + "provides = [1]",
        "5: optimizer.x.provides: unknown capability 1; allowed: any-length, bidirectional, ",
    ),
    "paper is a list": (HEAD + "paper = []", "5: optimizer.x.paper: must be one line of text, not []"),
    "default in words": (
        HEAD + 'default = "yes"',
        "5: optimizer.x.default: must be true or false, not 'yes'",
    ),
    "two defaults": (
        HEAD + 'default = true\n[optimizer.y]\nuse = "a:B"\nsummary = "s"\ndefault = true',
        "9: optimizer.y.default: 'x' is the default of this kind already",
    ),
    "api of tomorrow": (
        HEAD + "api = 2",
        "5: optimizer.x.api: made for version 2 of this kind, which is 1 here; upgrade resnetbk",
    ),
    "api of yesterday": (
        HEAD + "api = 0",
        "5: optimizer.x.api: made for version 0 of this kind, which is 1 here; upgrade bad",
    ),
    "api in words": (HEAD + 'api = "1"', "5: optimizer.x.api: must be a whole number, not '1'"),
    "plugin is no table": ("schema = 1\nplugin = 3", "2: plugin: must be a table, not 3"),
    "unknown key of plugin": (
        'schema = 1\n[plugin]\nhook = "a"',
        "3: plugin: unknown key 'hook'; did you mean 'hooks'?",
    ),
    "hooks is no module": (
        'schema = 1\n[plugin]\nhooks = "a b"',
        "3: plugin.hooks: 'a b' is no module; write \"package.module\"",
    ),
    "another name": (
        'schema = 1\n[plugin]\nname = "good"',
        "3: plugin.name: 'good', but the plugin is installed as 'bad'",
    ),
    "several": ("schema = 1\n[wonder.x]\n[optimizer.y]", "2: unknown kind 'wonder'; allowed: "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_manifest_is_isolated_with_a_cause_of_one_line(fake_plugin, fault):
    text, cause = FAULTS[fault]
    fake_plugin("good", manifest=GOOD)
    path = fake_plugin("bad", manifest=GOOD) / "registry.toml"
    path.write_text(text)
    registry = Registry.discover()
    (bad,) = registry.broken()
    assert (bad.name, bad.version, bad.path, bad.manifest) == ("bad", "1.0", path, None)
    assert bad.error.startswith(f"{path}:{cause}")
    assert bad.error.isprintable()
    assert len(bad.error) < 400 + len(str(path))
    assert [entry.name for entry in registry.entries()] == ["good"]
    with pytest.raises(UserError) as error:
        registry.find("optimizer", "bad/x")
    assert str(error.value) == f"plugin bad 1.0: {bad.error}"


def test_more_mistakes_than_one_are_counted(fake_plugin):
    fake_plugin("bad", manifest="schema = 1\n[wonder.x]\n[optimizer.y]\n")
    (bad,) = Registry.discover().broken()
    assert bad.error.endswith(" (and 2 more)")


def test_a_manifest_that_is_not_utf8_is_isolated(private):
    path = private("bad", "")
    path.write_bytes(b"schema = 1\n# \xff")
    (bad,) = Registry.discover([path]).broken()
    assert bad.error == f"{path}:2: not UTF-8"


def test_a_private_manifest_that_is_missing_or_a_folder_is_isolated(private, tmp_path):
    good = private("good", GOOD)
    registry = Registry.discover([tmp_path / "bad" / "registry.toml", good.parent, good])
    errors = {plugin.name: plugin.error for plugin in registry.broken()}
    assert errors == {
        "bad": f"{tmp_path / 'bad' / 'registry.toml'}: cannot be read: No such file or directory",
        tmp_path.name: f"{good.parent}: is a folder",
    }
    assert registry.find("optimizer", "good")


def test_a_folder_whose_name_is_no_name_for_a_plugin(private):
    path = private("my parts", GOOD)
    (bad,) = Registry.discover([path]).broken()
    assert bad.error.startswith(f"{path}:1: 'my parts' is no name for a plugin; write letters, digits, ")
    path.write_text(GOOD + '[plugin]\nname = "my-parts"\n')
    assert Registry.discover([path]).find("optimizer", "my-parts/good")


@pytest.mark.parametrize(
    ("points", "cause"),
    [
        ("bad = nowhere:registry.toml", "entry point 'nowhere:registry.toml': there is no package 'nowhere'"),
        ("bad = bad.sub:registry.toml", "entry point 'bad.sub:registry.toml': there is no package 'bad.sub'"),
        ("bad = bad.sub.sub:x.toml", "entry point 'bad.sub.sub:x.toml': there is no package 'bad.sub.sub'"),
        ("bad = bad:other.toml", "entry point 'bad:other.toml': package 'bad' has no file 'other.toml'"),
        ("bad = bad", "entry point 'bad': write package:registry.toml"),
        ("bad = bad:../x.toml", "entry point 'bad:../x.toml': write package:registry.toml"),
        ("bad = bad:/x.toml", "entry point 'bad:/x.toml': write package:registry.toml"),
        ("bad = __main__:registry.toml", "entry point '__main__:registry.toml': "),
        ("bad = sys:registry.toml", "entry point 'sys:registry.toml': package 'sys' has no file"),
        ("bad = .:registry.toml", "entry point '.:registry.toml': "),
        ("bad", "entry_points.txt is faulty: "),
    ],
)
def test_a_faulty_entry_point_is_isolated(fake_plugin, tmp_path, points, cause):
    fake_plugin("good", manifest=GOOD)
    fake_plugin("bad", manifest=GOOD)
    info = tmp_path / "site-packages" / "bad-1.0.dist-info"
    (info / "entry_points.txt").write_text(f"[resnetbk.registry]\n{points}\n")
    importlib.invalidate_caches()
    registry = Registry.discover()
    (bad,) = registry.broken()
    assert (bad.name, bad.path) == ("bad", None)
    assert bad.error.startswith(cause)
    assert bad.error.isprintable()
    assert [entry.plugin for entry in registry.entries()] == ["good"]
    assert "bad" not in sys.modules


def test_the_remains_of_a_distribution_harm_nobody(fake_plugin, tmp_path):
    fake_plugin("good", manifest=GOOD)
    site = tmp_path / "site-packages"
    (site / "gone-1.0.dist-info").mkdir()
    other = site / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Name: other\nVersion: 1\n")
    (other / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    binary = site / "binary-1.0.dist-info"
    binary.mkdir()
    (binary / "METADATA").write_bytes(b"\xff\xfe")
    importlib.invalidate_caches()
    assert [plugin.name for plugin in Registry.discover().plugins] == ["good"]
