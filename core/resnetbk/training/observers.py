"""Observers of a run: those that the spec lists, and the hooks of the plugins that it uses."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy

from resnetbk import hooks
from resnetbk.errors import UserError, nearest, one_line, shortened
from resnetbk.kinds import Observer
from resnetbk.model.assemble import build
from resnetbk.registry.lookup import Registry
from resnetbk.spec.spec import Spec, parts
from resnetbk.terminal import standard_error


def observers(spec: Spec, registry: Registry, folder: Path, more: Iterable[object] = ()) -> Any:
    """The hooks to call, those of `more` last. A plugin's hook module is imported only when the spec uses it.

    Raises UserError, naming the plugin, when its hook module cannot be imported.
    """
    watchers = [
        build("train.observe", part, Observer, folder=folder, spec=spec) for part in spec.train.observe
    ]
    used = {part.entry.plugin for _, part in parts(spec)}
    for plugin in registry.plugins:
        if plugin.name in used and (module := registry.load_hooks(plugin)):
            watchers.append(module)
    return manager([*watchers, *more]).hook


def _to_stderr(message: str) -> None:
    with contextlib.suppress(OSError):  # when nobody reads it any more
        print(message, file=standard_error(), flush=True)


def manager(
    observers: Iterable[object], complain: Callable[[str], None] = _to_stderr
) -> pluggy.PluginManager:
    """A plugin manager whose `hook` calls the observers in the order given.

    The run matters more than who watches it: an observer that raises is complained about once, in one
    line, and goes on being called. A UserError in `resnetbk_check`, and what is no Exception
    (KeyboardInterrupt), pass. Raises UserError for a hook that does not exist or takes other arguments.
    """
    plugins = pluggy.PluginManager("resnetbk")
    plugins.add_hookspecs(hooks)
    # pluggy calls the last one registered first.
    for observer in reversed(list(observers)):
        try:
            plugins.register(_guarded(plugins, observer, complain))
        except pluggy.PluginValidationError as error:
            raise UserError(f"observer {_name(observer)}: {shortened(str(error))}") from error
    return plugins


def _guarded(
    plugins: pluggy.PluginManager, observer: object, complain: Callable[[str], None]
) -> SimpleNamespace:
    """The observer's hooks, each wrapped so that it cannot stop a run."""
    complained = False
    name = _name(observer)

    def guard(hook: str, implementation: Callable[..., object]) -> Callable[..., object]:
        # `wraps` keeps pluggy's mark and lets it see the arguments that are asked for.
        @functools.wraps(implementation)
        def call(*arguments: object) -> object:
            nonlocal complained
            try:
                return implementation(*arguments)
            except (Exception, SystemExit) as error:  # an observer may not end the run
                if hook == "resnetbk_check" and isinstance(error, UserError):
                    raise
                if not complained:
                    complained = True
                    complain(f"observer {name} failed in {hook} ({one_line(error)}); the run goes on")
                return None

        return call

    guards = SimpleNamespace()
    for attribute in dir(observer):
        options = plugins.parse_hookimpl_opts(observer, attribute)
        if options is not None:
            hook = options.get("specname") or attribute
            if hook not in hooks.HOOKS:
                raise UserError(f"observer {name}: there is no hook {hook!r}{nearest(hook, hooks.HOOKS)}")
            setattr(guards, attribute, guard(hook, getattr(observer, attribute)))
    return guards


def _name(observer: object) -> str:
    kind = type(observer)
    return str(getattr(observer, "__name__", f"{kind.__module__}.{kind.__qualname__}"))
