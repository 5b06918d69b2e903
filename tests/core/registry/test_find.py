"""Finding components by name: bare, with their plugin, and what is said when that fails."""

from __future__ import annotations

import pytest

from resnetbk.errors import UserError
from resnetbk.registry import Registry


def manifest(*components: str, default: str = "") -> str:
    text = "schema = 1\n"
    for component in components:
        text += f'[{component}]\nuse = "acme.parts:Part"\nsummary = "Some"\n'
        text += "default = true\n" if component in default.split() else ""
    return text


def refusal(registry: Registry, kind: str, name: str) -> str:
    with pytest.raises(UserError) as error:
        registry.find(kind, name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_bare_name_and_a_full_one_find_the_same(fake_plugin):
    fake_plugin("acme", manifest=manifest("optimizer.sgd"))
    registry = Registry.discover()
    assert registry.find("optimizer", "sgd") is registry.find("optimizer", "acme/sgd")


def test_one_name_in_two_plugins_is_an_error_only_when_it_is_used_bare(fake_plugin):
    fake_plugin("zed", manifest=manifest("optimizer.sgd", "corpus.only"))
    fake_plugin("acme", manifest=manifest("optimizer.sgd"))
    registry = Registry.discover()
    assert not registry.broken()
    assert registry.find("corpus", "only").plugin == "zed"
    message = refusal(registry, "optimizer", "sgd")
    assert message == "optimizer 'sgd' is in several plugins; write acme/sgd or zed/sgd"
    assert [registry.find("optimizer", f"{plugin}/sgd").plugin for plugin in ("acme", "zed")] == [
        "acme",
        "zed",
    ]
    assert Registry.discover(block=["zed"]).find("optimizer", "sgd").plugin == "acme"


def test_one_name_in_two_kinds_is_no_collision(fake_plugin):
    fake_plugin("acme", manifest=manifest("optimizer.plain", "corpus.plain"))
    assert Registry.discover().find("corpus", "plain").kind == "corpus"


def test_unknown_names(fake_plugin):
    fake_plugin("acme", manifest=manifest("optimizer.adamw", "optimizer.muon", "corpus.tales"))
    registry = Registry.discover()
    assert refusal(registry, "optimizer", "adam") == "unknown optimizer 'adam'; did you mean 'adamw'?"
    assert refusal(registry, "optimizer", "x") == "unknown optimizer 'x'; allowed: adamw, muon"
    assert refusal(registry, "tokenizer", "x") == "unknown tokenizer 'x'"
    assert (
        refusal(registry, "optimizer", "acme/adam")
        == "plugin acme has no optimizer 'adam'; did you mean 'adamw'?"
    )
    assert refusal(registry, "optimizer", "acne/muon") == "no plugin 'acne'; did you mean 'acme'?"
    assert refusal(registry, "optimizer", "acme/x/muon") == "no plugin 'acme/x'; did you mean 'acme'?"
    assert refusal(registry, "optimizer", "~/muon") == (
        "no plugin '~'; allowed: acme; a path is a key of a component: { use = NAME, path = FILE }"
    )
    assert refusal(registry, "optimiser", "muon") == "unknown kind 'optimiser'; did you mean 'optimizer'?"
    assert refusal(registry, "optimizer", "tales") == (
        "unknown optimizer 'tales' (it is of kind corpus); allowed: adamw, muon"
    )
    assert refusal(registry, "optimizer", "") == "unknown optimizer ''; allowed: adamw, muon"


def test_a_component_of_a_blocked_or_broken_plugin(fake_plugin):
    fake_plugin("acme", manifest=manifest("optimizer.sgd"))
    fake_plugin("zed", manifest=manifest("optimizer.muon"), version="0.3")
    fake_plugin("bad", manifest="schema = 9")
    registry = Registry.discover(block=["zed"])
    assert (
        refusal(registry, "optimizer", "zed/muon") == "plugin zed 0.3: blocked (--block or RESNETBK_PLUGINS)"
    )
    assert (
        refusal(registry, "optimizer", "muon")
        == "unknown optimizer 'muon'; allowed: sgd; not searched: bad, zed"
    )
    assert refusal(registry, "optimizer", "bad/x").startswith("plugin bad 1.0: ")
    assert "schema: 9 is newer" in refusal(registry, "optimizer", "bad/x")
    registry = Registry.discover(allow=["acme"])
    assert refusal(registry, "optimizer", "zed/muon") == (
        "plugin zed 0.3: not among those that RESNETBK_PLUGINS allows"
    )


# ---------------------------------------------------------------- defaults


def test_defaults_are_those_of_the_first_plugin_that_has_any(fake_plugin, tmp_path):
    for name in ("a", "b", "first"):
        text = manifest("optimizer.sgd", f"corpus.{name}", default=f"optimizer.sgd corpus.{name}")
        fake_plugin(f"plug-{name}", manifest=text)
    text = manifest(
        "optimizer.sgd", "observer.z", "observer.y", "observer.x", default="observer.z observer.x"
    )
    (tmp_path / "site-packages" / "plug_first" / "registry.toml").write_text(text)
    registry = Registry.discover()
    assert [entry.plugin for entry in registry.defaults("optimizer")] == ["plug-a"]

    info = tmp_path / "site-packages" / "plug_first-1.0.dist-info"
    (info / "entry_points.txt").write_text("[resnetbk.registry]\nresnetbk = plug_first:registry.toml\n")
    registry = Registry.discover()
    assert registry.plugins[0].name == "resnetbk"
    # the first plugin has this kind, but no default for it
    assert [entry.plugin for entry in registry.defaults("optimizer")] == ["plug-a"]
    assert [entry.name for entry in registry.defaults("corpus")] == ["a"]
    assert [entry.name for entry in registry.defaults("observer")] == ["x", "z"]
    assert registry.defaults("tokenizer") == ()
    registry = Registry.discover(block=["plug-a"])
    assert [entry.plugin for entry in registry.defaults("optimizer")] == ["plug-b"]
    with pytest.raises(UserError, match="unknown kind"):
        registry.defaults("wonder")
