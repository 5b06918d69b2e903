"""`resnetbk test NAME [--set key=value] [--json]`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from resnetbk.cli.as_json import json_option, print_json
from resnetbk.errors import UserError
from resnetbk.registry.lookup import Registry

if TYPE_CHECKING:
    from resnetbk_authoring.testing.subject import Subject
    from resnetbk_authoring.testing.suite import Check
    from resnetbk_authoring.testing.verb_checks import VerbSubject


@click.command("test")
@click.argument("name")
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="A key of the component under test; repeatable."
)
@json_option
@click.pass_obj
def command(registry: Registry, name: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Runs the conformance checks of the component or verb NAME: of its kind, and of all that it provides.

    Exit code 2 when a check fails. A plugin's own tests run the same: see
    `resnetbk_authoring.testing.all_components`.
    """
    from rich.console import Console
    from rich.markup import escape

    from resnetbk.cli.tables import table
    from resnetbk.spec.document import from_set
    from resnetbk_authoring.cli.show import named
    from resnetbk_authoring.testing.suite import applicable, checks, subject_of

    console = Console(highlight=False)
    settings: dict[str, object] = {}
    for assignment in sets:
        settings.update(from_set(assignment).tree)
    failures, results = [], []
    for entry in named(registry, name):
        subject = subject_of(registry, entry, settings)
        applied = set(applicable(subject))
        rows = table(f"{entry.kind} {entry.name}", "", "what it checks", left=(0, 1, 2))
        for check in checks(entry.kind):
            verdict, style, problem = "not provided", "dim", ""
            if check in applied:
                problem = _problem(check, subject)
                verdict, style = ("failed", "red") if problem else ("passed", "")
                failures += [f"{entry.name}: {check.name}: {problem}"] if problem else []
            results.append(
                {
                    "kind": entry.kind,
                    "name": entry.name,
                    "check": check.name,
                    "verdict": verdict,
                    "problem": problem or None,
                }
            )
            rows.add_row(check.name, verdict, escape(check.summary), style=style)
        if not as_json:
            console.print(rows)
    if as_json:
        print_json(results)
    if failures:
        raise UserError(*failures)


def _problem(check: Check, subject: Subject | VerbSubject) -> str:
    """Why a check fails, in one line; "" when it passes."""
    try:
        check.run(subject)
    except AssertionError as error:
        return " ".join(str(error).split())[:300] or "no reason given"
    return ""
