"""The fixture that we ship: a plugin is there for one test and gone after it."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from resnetbk.registry import Registry

MANIFEST = """
    schema = 1
    [optimizer.odd]
    use = "acme_odd.parts.odd:Odd"
    summary = "Indented, as in a test"
"""
MODULES = {
    "parts.odd": """
        import attrs

        @attrs.frozen(kw_only=True)
        class Odd:
            def build(self):
                return self
    """,
    "more.py": "VALUE = 3",
}


def test_a_plugin_is_found_loaded_and_forgotten(tmp_path):
    """Runs the fixture by hand, to see what is left when it ends."""
    from resnetbk_authoring.testing import fixtures

    before = [*sys.path]
    with pytest.MonkeyPatch.context() as patch:
        running = fixtures.fake_plugin.__wrapped__(tmp_path, patch)
        folder = next(running)("acme-odd", manifest=MANIFEST, modules=MODULES, version="4.2")
        assert folder.name == "acme_odd"
        registry = Registry.discover()
        entry = registry.find("optimizer", "odd")
        assert (entry.plugin, entry.version, entry.place) == (
            "acme-odd",
            "4.2",
            f"{folder / 'registry.toml'}:2",
        )
        assert registry.load(entry)().build()
        assert importlib.import_module("acme_odd.more").VALUE == 3
        assert next(running, None) is None
    assert not [name for name in sys.modules if name.startswith("acme_odd")]
    assert sys.path == before
    assert Registry.discover().plugins == ()


@pytest.mark.parametrize("name", ["resnetbk", "email", "sys", "acme"])
def test_a_plugin_cannot_hide_a_package(fake_plugin, name):
    fake_plugin("acme", manifest=MANIFEST)
    with pytest.raises(ValueError, match=f"there is a package '{name}' already"):
        fake_plugin(name, manifest=MANIFEST)


def test_the_settings_of_the_shell_do_not_reach_the_test(monkeypatch, request):
    monkeypatch.setenv("RESNETBK_PLUGINS", "-acme")
    monkeypatch.setenv("RESNETBK_REGISTRY", os.devnull)
    request.getfixturevalue("fake_plugin")("acme", manifest=MANIFEST)
    assert [plugin.error for plugin in Registry.discover().plugins] == [""]
