"""`resnetbk schema`"""

from __future__ import annotations

import json

import click

from resnetbk.registry.lookup import Registry


@click.command("schema")
@click.pass_obj
def command(registry: Registry) -> None:
    """A JSON Schema of specs with all installed components, for completion and checks in an editor."""
    from resnetbk_authoring.schema import schema

    click.echo(json.dumps(schema(registry), indent=1))
