"""Plugins that are installed for the length of a test, and no others."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resnetbk_authoring.testing.fixtures import fake_plugin

__all__ = ["fake_plugin"]

Private = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the distributions that are really installed, and the settings of whoever runs the tests."""
    everything = importlib.metadata.distributions

    def below_tmp_path() -> Iterator[importlib.metadata.Distribution]:
        return iter(everything(path=[path for path in sys.path if path.startswith(str(tmp_path))]))

    monkeypatch.setattr(importlib.metadata, "distributions", below_tmp_path)
    monkeypatch.delenv("RESNETBK_REGISTRY", raising=False)
    monkeypatch.delenv("RESNETBK_PLUGINS", raising=False)


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Private]:
    """Writes a folder with a registry.toml and modules; gives the path of the manifest."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def make(folder: str, manifest: str, modules: dict[str, str] | None = None) -> Path:
        path = tmp_path / folder / "registry.toml"
        path.parent.mkdir(parents=True)
        for file, text in {"registry.toml": manifest, **(modules or {})}.items():
            (path.parent / file).parent.mkdir(parents=True, exist_ok=True)
            (path.parent / file).write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    yield make
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
