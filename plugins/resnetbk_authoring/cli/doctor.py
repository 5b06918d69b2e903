"""`resnetbk doctor [--json]`"""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import Any

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.errors import UserError
from resnetbk.registry.discovery import Plugin
from resnetbk.registry.entry import VERB
from resnetbk.registry.lookup import Registry

PACKAGES = ("torch", "numpy", "pluggy", "attrs", "cattrs", "click", "rich", "safetensors", "numba", "triton")


@click.command("doctor")
@json_option
@click.pass_obj
def command(registry: Registry, as_json: bool) -> None:
    """Checks this machine and installation, and says why a plugin is left out.

    Imports every component and every module of hooks for this. Exit code 2 when something is broken.
    """
    from resnetbk.lock.lock import installed_version

    facts: dict[str, Any] = {
        "resnetbk": installed_version("resnetbk"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": {package: installed_version(package) for package in PACKAGES},
        "devices": _devices(),
        "precision": _precision(),
        "plugins": [_plugin(registry, plugin) for plugin in registry.plugins],
    }
    print_json(facts) if as_json else _print(facts)
    if any(plugin["broken"] for plugin in facts["plugins"]):
        click.get_current_context().exit(2)


def _devices() -> str:
    if find_spec("torch") is None:
        return "none: torch is not installed"
    import torch

    threads = f"cpu with {torch.get_num_threads()} threads"
    return f"{threads}, cuda {torch.cuda.get_device_name()}" if torch.cuda.is_available() else threads


def _precision() -> dict[str, dict[str, Any]]:
    """What `train.precision = "auto"` is on each device, and how fast bf16 is there."""
    if find_spec("torch") is None:
        return {}
    import torch

    from resnetbk.training.device import bf16_speed, precision_on

    names = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    devices = {name: torch.device(name) for name in names}
    return {
        name: {"auto": precision_on(device, "auto"), "bf16_speed": bf16_speed(device)}
        for name, device in devices.items()
    }


def _plugin(registry: Registry, plugin: Plugin) -> dict[str, Any]:
    """The state of a plugin: what it brings, why it is left out, and a line for each thing that is broken."""
    from resnetbk.cli import VERBS

    facts: dict[str, Any] = {"name": plugin.name, "version": plugin.version, "path": plugin.path}
    if plugin.error or plugin.manifest is None:
        broken = [] if plugin.blocked else [str(plugin.error)]
        return facts | {"left_out": str(plugin.error), "broken": broken}
    entries, notes, broken = plugin.manifest.entries, [], []
    for entry in entries:
        if entry.kind == VERB and entry.name in VERBS:
            name = f"{entry.plugin}/{entry.name}"
            notes.append(f"verb/{entry.name}: core's own verb has this name; call it as {name}")
        try:
            (registry.load_verb if entry.kind == VERB else registry.load)(entry)
        except UserError as error:
            broken.append(f"{entry.kind}/{entry.name}: {error}")
    try:
        registry.load_hooks(plugin)
    except UserError as error:
        broken.append(str(error))
    verbs = sum(entry.kind == VERB for entry in entries)
    counts = {"components": len(entries) - verbs, "verbs": verbs}
    return facts | counts | {"left_out": None, "notes": notes, "broken": broken}


def _print(facts: dict[str, Any]) -> None:
    click.echo(f"resnetbk {facts['resnetbk']}")
    click.echo(f"python   {facts['python']} on {facts['platform']}, {facts['processors']} processors")
    for package, version in facts["packages"].items():
        more = '; scans are slow without: pip install "resnetbk[fast]"' if package == "numba" else ""
        click.echo(f"{package:8} {version or f'not installed{more}'}")
    click.echo(f"devices  {facts['devices']}")
    for device, told in facts["precision"].items():
        click.echo(
            f'{device:8} precision = "auto" is {told["auto"]}; matrix products in bf16 run at '
            f"{told['bf16_speed']:.2g} times the speed of fp32"
        )
    click.echo()
    if not facts["plugins"]:
        click.echo("plugins  none installed")
    for plugin in facts["plugins"]:
        name = f"plugin   {plugin['name']} {plugin['version']}".rstrip()
        if plugin["left_out"] is not None:
            click.echo(f"{name}: left out: {plugin['left_out']}")
            continue
        verbs = f" and {plugin['verbs']} verbs" * bool(plugin["verbs"])
        click.echo(f"{name}: {plugin['components']} components{verbs} from {plugin['path']}")
        for line in (*plugin["notes"], *plugin["broken"]):
            click.echo(f"  {line}")
