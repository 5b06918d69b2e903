"""Who is told about a run: the observers the spec lists, and the hooks of the plugins it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resnetbk.hooks import manager
from resnetbk.kinds import Observer
from resnetbk.model.assemble import build
from resnetbk.registry.lookup import Registry
from resnetbk.spec.spec import Spec, parts


def observers(spec: Spec, registry: Registry, folder: Path) -> Any:
    """The hooks to call. A plugin's hook module is imported only when the spec uses that plugin.

    Raises UserError, naming the plugin, when its hook module cannot be imported.
    """
    told = [build("train.observe", part, Observer, folder=folder, spec=spec) for part in spec.train.observe]
    used = {part.entry.plugin for _, part in parts(spec)}
    for plugin in registry.plugins:
        if plugin.name in used and (hooks := registry.load_hooks(plugin)):
            told.append(hooks)
    return manager(told).hook
