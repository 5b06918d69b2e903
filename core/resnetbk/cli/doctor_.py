"""`resnetbk doctor`"""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec

import click

from resnetbk.errors import UserError
from resnetbk.registry.discovery import Plugin
from resnetbk.registry.entry import VERB
from resnetbk.registry.lookup import Registry

PACKAGES = ("torch", "numpy", "pluggy", "attrs", "cattrs", "click", "rich", "safetensors", "numba", "triton")


@click.command("doctor")
@click.pass_obj
def command(registry: Registry) -> None:
    """Checks this machine and installation, and says why a plugin is left out.

    Imports every component and every module of hooks for this. Exit code 2 when something is broken.
    """
    from resnetbk.lock.lock import installed_version

    click.echo(f"resnetbk {installed_version('resnetbk')}")
    click.echo(f"python   {platform.python_version()} on {platform.platform()}, {os.cpu_count()} processors")
    for package in PACKAGES:
        click.echo(f"{package:8} {installed_version(package) or 'not installed'}")
    click.echo(f"devices  {_devices()}\n")
    broken = sum(_plugin(registry, plugin) for plugin in registry.plugins)
    if not registry.plugins:
        click.echo("plugins  none installed")
    if broken:
        click.get_current_context().exit(2)


def _devices() -> str:
    if find_spec("torch") is None:
        return "none: torch is not installed"
    import torch

    threads = f"cpu with {torch.get_num_threads()} threads"
    return f"{threads}, cuda {torch.cuda.get_device_name()}" if torch.cuda.is_available() else threads


def _plugin(registry: Registry, plugin: Plugin) -> int:
    """Prints the state of a plugin; returns how much of it is broken."""
    from resnetbk.cli import VERBS

    if plugin.error or plugin.manifest is None:
        click.echo(f"plugin   {plugin.name} {plugin.version}".rstrip() + f": left out: {plugin.error}")
        return int(not plugin.blocked)
    entries, broken = plugin.manifest.entries, []
    for entry in entries:
        if entry.kind == VERB and entry.name in VERBS:
            name = f"{entry.plugin}/{entry.name}"
            click.echo(f"  verb/{entry.name}: core's own verb has this name; call it as {name}")
        try:
            (registry.load_verb if entry.kind == VERB else registry.load)(entry)
        except UserError as error:
            broken.append(f"  {entry.kind}/{entry.name}: {error}")
    try:
        registry.load_hooks(plugin)
    except UserError as error:
        broken.append(f"  {error}")
    verbs = sum(entry.kind == VERB for entry in entries)
    counts = f"{len(entries) - verbs} components" + f" and {verbs} verbs" * bool(verbs)
    click.echo(f"plugin   {plugin.name} {plugin.version}".rstrip() + f": {counts} from {plugin.path}")
    for line in broken:
        click.echo(line)
    return len(broken)
