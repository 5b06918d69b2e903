"""Who is told about a run: the observers the spec lists, and the hooks of the plugins it uses."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import attrs

from resnetbk.errors import UserError
from resnetbk.hooks import manager
from resnetbk.registry.lookup import Registry
from resnetbk.spec.spec import Part, Spec


def observers(spec: Spec, registry: Registry, folder: Path) -> Any:
    """The hooks to call. A plugin's hook module is imported only when the spec uses that plugin.

    Raises UserError, naming the plugin, when its hook module cannot be imported.
    """
    told = [part.component.build(folder=folder, spec=spec) for part in spec.train.observe]
    used = {part.entry.plugin for part in parts(spec)}
    for plugin in registry.plugins:
        if plugin.name in used and plugin.manifest is not None and plugin.manifest.hooks:
            try:
                told.append(importlib.import_module(plugin.manifest.hooks))
            except (Exception, SystemExit) as error:
                cause = f"{type(error).__name__}: {error}"
                raise UserError(
                    f"plugin {plugin.name} {plugin.version}: cannot import its hooks "
                    f"{plugin.manifest.hooks}: {cause}"
                ) from error
    return manager(told).hook


def parts(spec: Spec) -> list[Part]:
    """Every component a spec uses."""
    found: list[Part] = []
    for section in (spec.data, spec.model, spec.train):
        for value in attrs.asdict(section, recurse=False).values():
            found.extend(v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, Part))
    return found
