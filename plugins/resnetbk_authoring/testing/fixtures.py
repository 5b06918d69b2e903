"""Pytest fixtures for plugins that a test makes up. Needs pytest; the rest of the package does not."""

from __future__ import annotations

import importlib.util
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest


class FakePlugin(Protocol):
    """Makes up an installed plugin; gives the folder of its package."""

    def __call__(
        self, name: str, *, manifest: str, modules: dict[str, str] | None = None, version: str = "1.0"
    ) -> Path: ...


@pytest.fixture
def fake_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlugin]:
    """A factory of plugins that are found as if installed, until the test ends.

    Import it in `conftest.py` or in the test's own file::

        from resnetbk_authoring.testing.fixtures import fake_plugin

        def test_my_gate(fake_plugin):
            fake_plugin(
                "acme",
                manifest='''
                    schema = 1
                    [sparsity-gate.odd]
                    use = "acme.gates:Odd"
                    summary = "Keeps every other row"
                ''',
                modules={"gates": '''
                    import attrs

                    @attrs.frozen(kw_only=True)
                    class Odd:
                        def build(self, *, width, depth): ...
                '''},
            )
            Registry.discover().find("sparsity-gate", "odd")

    name      of the plugin; its package is called the same, with '_' for '-' and '.'. ValueError for
              the name of a package that is there already
    manifest  the text of its registry.toml, indented or not
    modules   their sources by their names within the package: "gates", "gates.odd", or "gates.py";
              "__init__" is the package itself
    version   of its distribution

    All share one folder on sys.path. What was imported from them is forgotten when the test ends, and
    RESNETBK_REGISTRY and RESNETBK_PLUGINS are unset until then.
    """
    site = tmp_path / "site-packages"
    packages: set[str] = set()
    monkeypatch.delenv("RESNETBK_REGISTRY", raising=False)
    monkeypatch.delenv("RESNETBK_PLUGINS", raising=False)

    def make(
        name: str, *, manifest: str, modules: dict[str, str] | None = None, version: str = "1.0"
    ) -> Path:
        package = name.replace("-", "_").replace(".", "_")
        if importlib.util.find_spec(package):
            raise ValueError(f"there is a package {package!r} already; call the plugin something else")
        packages.add(package)
        info = site / f"{package}-{version}.dist-info"
        info.mkdir(parents=True)
        _write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        _write(info / "entry_points.txt", f"[resnetbk.registry]\n{name} = {package}:registry.toml\n")
        folder = site / package
        _write(folder / "registry.toml", manifest)
        for module, source in {"__init__": "", **(modules or {})}.items():
            _write(folder / _file(module), source)
            for parent in Path(_file(module)).parents:
                (folder / parent / "__init__.py").touch()
        if str(site) not in sys.path:
            monkeypatch.syspath_prepend(site)
        importlib.invalidate_caches()
        return folder

    yield make
    for module in [*sys.modules]:
        if module.partition(".")[0] in packages:
            del sys.modules[module]


def _file(module: str) -> str:
    return module if module.endswith(".py") else module.replace(".", os.sep) + ".py"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
