"""Which plugins are discovered, in which order, and that discovery runs nobody's code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnetbk.errors import UserError
from resnetbk.kinds import KINDS
from resnetbk.registry import Registry

EXPLODES = "raise RuntimeError('imported')"


def manifest(*components: str, use: str = "acme.parts:Part", top: str = "", default: bool = False) -> str:
    """A manifest of components written `kind.name`."""
    tables = [
        f'[{component}]\nuse = "{use}"\nsummary = "Some"\ndefault = {str(default).lower()}\n'
        for component in components
    ]
    return "\n".join(["schema = 1", top, *tables])


def names(registry: Registry) -> list[str]:
    return [plugin.name for plugin in registry.plugins]


def dist_info(site: Path, distribution: str, version: str, entry_points: str) -> None:
    info = site / f"{distribution}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[resnetbk.registry]\n{entry_points}\n")


def test_finds_an_installed_plugin_without_importing_it(fake_plugin):
    text = manifest("sparsity-gate.odd", use="acme_gates.parts:Odd")
    folder = fake_plugin("acme-gates", manifest=text, modules={"__init__": EXPLODES}, version="2.3")
    registry = Registry.discover()
    (plugin,) = registry.plugins
    assert (plugin.name, plugin.version, plugin.error) == ("acme-gates", "2.3", "")
    assert plugin.path == folder / "registry.toml"
    (entry,) = registry.entries()
    assert (entry.kind, entry.name, entry.plugin, entry.version) == (
        "sparsity-gate",
        "odd",
        "acme-gates",
        "2.3",
    )
    assert "acme_gates" not in sys.modules


def test_a_hundred_plugins_are_found_and_none_imported(fake_plugin):
    for i in range(100):
        text = manifest(f"optimizer.o{i}", f"corpus.c{i}", use=f"plug{i}.parts:Part")
        fake_plugin(f"plug{i}", manifest=text, modules={"__init__": EXPLODES})
    registry = Registry.discover()
    assert len(registry.plugins) == 100
    assert not registry.broken()
    assert len(registry.entries()) == 200
    assert not [name for name in sys.modules if name.startswith("plug") and name[4:].isdigit()]


def test_discovery_imports_neither_torch_nor_numpy_nor_cattrs(fake_plugin):
    site = fake_plugin("acme", manifest=manifest("optimizer.sgd")).parent
    script = "\n".join(
        [
            "import sys",
            "from resnetbk.registry import Registry",
            "assert Registry.discover(allow=['acme']).find('optimizer', 'sgd')",
            "print([name for name in ('torch', 'numpy', 'cattrs', 'acme') if name in sys.modules])",
        ]
    )
    core = Path(sys.modules["resnetbk.errors"].__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{core}"}
    result = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_manifest_in_a_nested_package_is_found_without_importing_its_parents(tmp_path, monkeypatch):
    site = tmp_path / "site"
    inner = site / "acme_outer" / "inner"
    inner.mkdir(parents=True)
    (site / "acme_outer" / "__init__.py").write_text(EXPLODES)
    (inner / "__init__.py").write_text(EXPLODES)
    (inner / "registry.toml").write_text(manifest("optimizer.sgd"))
    dist_info(site, "acme", "1.0", "acme = acme_outer.inner:registry.toml")
    monkeypatch.syspath_prepend(site)
    registry = Registry.discover()
    assert not registry.broken()
    assert registry.find("optimizer", "sgd").plugin == "acme"
    assert not [name for name in sys.modules if name.startswith("acme_outer")]


def test_a_manifest_in_a_folder_without_init_is_found(tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "acme_space" / "data").mkdir(parents=True)
    (site / "acme_space" / "data" / "registry.toml").write_text(manifest("optimizer.sgd"))
    dist_info(site, "acme", "1.0", "acme = acme_space:data/registry.toml")
    monkeypatch.syspath_prepend(site)
    assert Registry.discover().find("optimizer", "sgd").plugin == "acme"


def test_a_distribution_seen_twice_on_the_path_counts_once(fake_plugin, tmp_path, monkeypatch):
    fake_plugin("acme", manifest=manifest("optimizer.sgd"), version="2.0")
    older = tmp_path / "older"
    dist_info(older, "ACME", "1.0", "acme = acme:registry.toml")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older)])
    registry = Registry.discover()
    assert [(plugin.name, plugin.version) for plugin in registry.plugins] == [("acme", "2.0")]
    assert not registry.broken()


def test_an_older_distribution_behind_a_newer_without_plugin_does_not_count(
    fake_plugin, tmp_path, monkeypatch
):
    fake_plugin("acme", manifest=manifest("optimizer.sgd"))
    newer = tmp_path / "newer"
    dist_info(newer, "acme", "2.0", "")
    monkeypatch.syspath_prepend(newer)
    assert not Registry.discover().plugins


def test_the_plugin_named_like_the_package_comes_first_and_the_rest_by_name(fake_plugin, tmp_path):
    for name in ("zed", "acme", "first"):
        fake_plugin(name, manifest=manifest(f"optimizer.{name}"))
    info = tmp_path / "site-packages" / "first-1.0.dist-info"
    (info / "entry_points.txt").write_text("[resnetbk.registry]\nresnetbk = first:registry.toml\n")
    assert names(Registry.discover()) == ["resnetbk", "acme", "zed"]


def test_entries_come_in_the_order_of_kinds_then_by_name(fake_plugin):
    fake_plugin("zed", manifest=manifest("corpus.b", "sequence-mixer.z", "optimizer.a"))
    fake_plugin("acme", manifest=manifest("corpus.a", "corpus.c", "sequence-mixer.z"))
    registry = Registry.discover()
    entries = [(entry.kind, entry.name, entry.plugin) for entry in registry.entries()]
    assert entries == [
        ("sequence-mixer", "z", "acme"),
        ("sequence-mixer", "z", "zed"),
        ("corpus", "a", "acme"),
        ("corpus", "b", "zed"),
        ("corpus", "c", "acme"),
        ("optimizer", "a", "zed"),
    ]
    assert [entry.name for entry in registry.entries("corpus")] == ["a", "b", "c"]
    assert registry.entries("tokenizer") == ()
    with pytest.raises(UserError, match="unknown kind 'corpsu'; did you mean 'corpus'"):
        registry.entries("corpsu")


# ---------------------------------------------------------------- private manifests


def test_a_private_manifest_is_named_by_its_folder_or_by_itself(private):
    one = private("my_parts", manifest("optimizer.a"))
    two = private("other", manifest("optimizer.b", top='[plugin]\nname = "mine"'))
    registry = Registry.discover([one, two])
    assert names(registry) == ["mine", "my_parts"]
    assert all(plugin.private and plugin.version == "" for plugin in registry.plugins)
    assert registry.find("optimizer", "mine/b").place == f"{two}:4"


def test_the_environment_names_more_manifests(private, monkeypatch):
    paths = [private(name, manifest(f"optimizer.{name}")) for name in ("a", "b", "c")]
    monkeypatch.setenv("RESNETBK_REGISTRY", os.pathsep.join(["", str(paths[0]), str(paths[1])]))
    assert names(Registry.discover([paths[2]])) == ["a", "b", "c"]


def test_nothing_is_found_by_standing_in_a_folder(private, monkeypatch):
    monkeypatch.chdir(private("here", manifest("optimizer.a")).parent)
    assert Registry.discover().plugins == ()


def test_a_relative_path_names_the_plugin_by_the_real_folder(private, monkeypatch):
    monkeypatch.chdir(private("here", manifest("optimizer.a")).parent)
    registry = Registry.discover([Path("registry.toml")])
    assert registry.find("optimizer", "here/a").place == "registry.toml:3"


def test_one_manifest_named_twice_counts_once(private, fake_plugin, monkeypatch):
    path = private("mine", manifest("optimizer.a"))
    installed = fake_plugin("acme", manifest=manifest("optimizer.b")) / "registry.toml"
    monkeypatch.setenv("RESNETBK_REGISTRY", str(path))
    registry = Registry.discover([path, path.parent / ".." / "mine" / "registry.toml", installed])
    assert names(registry) == ["acme", "mine"]
    assert not registry.broken()


def test_two_plugins_of_one_name_are_told_apart_by_an_error(private):
    one, two = private("a/parts", manifest("optimizer.a")), private("b/parts", manifest("optimizer.b"))
    registry = Registry.discover([one, two])
    (broken,) = registry.broken()
    assert broken.path == two
    assert broken.error == f"another plugin has this name, at {one}"
    assert registry.find("optimizer", "parts/a")


# ---------------------------------------------------------------- allow and block


@pytest.fixture
def three(fake_plugin):
    for name in ("a", "b", "c"):
        fake_plugin(f"plug-{name}", manifest=manifest(f"optimizer.{name}"))


def working(registry: Registry) -> str:
    assert not registry.broken(), "what is blocked is not broken"
    return "".join(entry.name for entry in registry.entries())


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("variable", "allow", "block", "expected"),
    [
        ("", None, (), "abc"),
        ("plug-a", None, (), "a"),
        (" plug-a , plug-b ,", None, (), "ab"),
        ("-plug-a", None, (), "bc"),
        ("plug-a,-plug-a", None, (), ""),
        ("plug-a,plug-b,-plug-b", None, (), "a"),
        ("plug-a", ["plug-b"], (), "b"),
        ("-plug-b", ["plug-b", "plug-c"], (), "c"),
        ("", None, ["plug-c"], "ab"),
        ("plug-c", None, ["plug-c"], ""),
        ("", ["plug-c"], ["plug-c"], ""),
        ("", [], (), ""),
    ],
)
def test_allow_and_block(monkeypatch, variable, allow, block, expected):
    monkeypatch.setenv("RESNETBK_PLUGINS", variable)
    assert working(Registry.discover(allow=allow, block=block)) == expected


def test_the_manifest_of_a_blocked_plugin_is_not_read(fake_plugin):
    fake_plugin("acme", manifest="this is no TOML", modules={"__init__": EXPLODES})
    (plugin,) = Registry.discover(block=["acme"]).plugins
    assert (plugin.blocked, plugin.manifest) == (True, None)
    assert plugin.error == "blocked (--block or RESNETBK_PLUGINS)"
    assert "acme" not in sys.modules


def test_a_private_manifest_is_blocked_by_its_own_name(private):
    path = private("folder", manifest("optimizer.a", top='[plugin]\nname = "mine"'))
    assert working(Registry.discover([path], block=["mine"])) == ""
    assert working(Registry.discover([path], block=["folder"])) == "a"
    assert working(Registry.discover([path], allow=["mine"])) == "a"


def test_every_kind_can_be_listed(fake_plugin):
    fake_plugin("acme", manifest=manifest(*(f"{kind}.x" for kind in reversed(KINDS))))
    assert [entry.kind for entry in Registry.discover().entries()] == list(KINDS)
