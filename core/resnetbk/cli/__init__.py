"""The command line: one verb a file. A verb imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from resnetbk.errors import ResnetbkError, UserError, nearest, one_line
from resnetbk.exhausted import exhausted
from resnetbk.registry.entry import VERB
from resnetbk.registry.lookup import OURS, PATHS, PLUGINS, Registry, listed
from resnetbk.terminal import ignore_absurd_size
from resnetbk.training.signals import end_at_once

VERBS = {
    "list": "List installed components and verbs",
    "specs": "List the specs that are installed along",
    "check": "Report all mistakes in specs",
    "train": "Train a model from a spec",
    "eval": "Evaluate a run on held-out text",
}
"""Core's own verbs, a file of this folder for each. All others come from manifests."""

COMPLETION = "_RESNETBK_COMPLETE"
"""Set by a shell that asks what may come next: `eval "$(_RESNETBK_COMPLETE=bash_source resnetbk)"`."""

ELSEWHERE = {
    **dict.fromkeys(["generate", "export"], "resnetbk"),
    **dict.fromkeys(["show", "schema", "lock", "diff", "new", "test", "doctor"], "resnetbk-authoring"),
    **dict.fromkeys(
        ["compare", "ablate", "tune", "cost", "explain", "report", "runs"], "resnetbk-instrument"
    ),
}
"""The plugins that bring verbs which people expect in any installation."""


class Verbs(click.Group):
    """Core's verbs and those of plugins, by name and summary; imports only the one that is called.

    A bare name means core's verb before a plugin's, which can always be called as `plugin/name`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._summaries(ctx))

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        if name in VERBS:
            import importlib

            command: click.Command = importlib.import_module(f"resnetbk.cli.{name}_").command
            return command
        registry = _registry(ctx)
        if "/" not in name and not any(entry.name == name for entry in registry.entries(VERB)):
            raise UserError(f"no verb {name!r}{self._hint(ctx, name)}")
        return registry.load_verb(registry.find(VERB, name))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if (name := ctx.invoked_subcommand) and name not in VERBS:
                entry = _registry(ctx).find(VERB, name)
                error.add_note(f"raised by verb {name!r} of plugin {entry.plugin} {entry.version}".rstrip())
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(self._summaries(ctx).items()))

    def _hint(self, ctx: click.Context, name: str) -> str:
        """What to do about a verb that is not there."""
        if name not in ELSEWHERE:
            unread = [plugin.name for plugin in _registry(ctx).plugins if plugin.error]
            more = f"; not searched: {', '.join(unread)}" if unread else ""
            return nearest(name, self._summaries(ctx)) + more
        plugins = (plugin for plugin in _registry(ctx).plugins if plugin.name == ELSEWHERE[name])
        state = next((plugin.error for plugin in plugins), "not installed")
        return f"; plugin {ELSEWHERE[name]} brings it, which is {state}"

    def _summaries(self, ctx: click.Context) -> dict[str, str]:
        """The summary of each verb, by the name that calls it."""
        entries = _registry(ctx).entries(VERB)
        names = [*VERBS, *(entry.name for entry in entries)]
        return VERBS | {
            entry.name
            if names.count(entry.name) == 1 or (entry.plugin in OURS and entry.name not in VERBS)
            else f"{entry.plugin}/{entry.name}": entry.summary
            for entry in entries
        }


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--registry", "manifests", multiple=True, metavar="PATH", type=click.Path(exists=True, dir_okay=False),
    is_eager=True, help="A manifest of your own components; repeatable. Also RESNETBK_REGISTRY.",
)  # fmt: skip
@click.option(
    "--block", multiple=True, metavar="PLUGIN", is_eager=True,
    help="A plugin never to be read or imported; repeatable. Also RESNETBK_PLUGINS=-NAME.",
)  # fmt: skip
@click.version_option(package_name="resnetbk", prog_name="resnetbk")
@click.pass_context
def cli(context: click.Context, manifests: tuple[str, ...], block: tuple[str, ...]) -> None:
    """Language models and their trainers, assembled from spec files out of pluggable components."""
    registry = _registry(context)
    names = [plugin.name for plugin in registry.plugins]
    unknown = [f"--block: no plugin {name!r}{nearest(name, names)}" for name in block if name not in names]
    if unknown:
        raise UserError(*unknown)
    allowed, blocked = listed()
    for name in sorted((allowed | blocked) - set(names)):
        click.echo(f"{PLUGINS}: no plugin {name!r}{nearest(name, names)}", err=True)
    _pass_on(context, PATHS, os.pathsep, [os.path.abspath(path) for path in manifests])
    _pass_on(context, PLUGINS, ",", [f"-{name}" for name in block])


def _registry(context: click.Context) -> Registry:
    """What is installed and what the options before the verb name, discovered once."""
    if context.obj is None:
        paths = [Path(path) for path in context.params.get("manifests", ())]
        context.obj = Registry.discover(paths, block=context.params.get("block", ()))
    registry: Registry = context.obj
    return registry


def _pass_on(context: click.Context, variable: str, separator: str, more: list[str]) -> None:
    """Adds to a variable while the verb runs, for code that discovers plugins itself, as for a parent run."""
    if not more:
        return
    before = os.environ.get(variable)
    os.environ[variable] = separator.join(filter(None, [*more, before]))

    def put_back() -> None:
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before

    context.call_on_close(put_back)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process.

    Exit codes: 0 fine, 1 our bug or a plugin's, 2 the user's mistake, 3 numeric, 4 input or output, 128 + the
    number of a signal, 141 when the reader of our output left.
    """
    # Threads that wait for each other spin for some 30 microseconds, then sleep: spinning for long, as is
    # usual, makes training ten times slower wherever another program wants a core too.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    ignore_absurd_size()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    code = _run(arguments)
    try:
        end_at_once()
        sys.stdout.flush()
    except OSError:
        code = _silence()
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    stdout = sys.stdout
    try:
        code = cli.main(arguments, prog_name="resnetbk", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except click.ClickException as error:
        return _say(error.format_message(), 2)
    except ResnetbkError as error:
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        return _silence()
    except OSError as error:
        return _say(f"{error.filename or 'I/O'}: {error.strerror or error}", 4)
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and COMPLETION in os.environ:  # click has answered the shell
            return int(error.code or 0)
        # The reader of our output left: rich exits then, and click exits after it has replaced the stream.
        if isinstance(error.__context__, BrokenPipeError) or sys.stdout is not stdout:
            return _silence()
        if exhausted(error):
            return _say(f"memory does not suffice here ({one_line(error)})", 2)
        traceback.print_exc()
        return _say("this is a bug in resnetbk or in a plugin: please report it with the lines above", 1)


def _silence() -> int:
    """The reader of our output left: nothing can be said, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 141


def _say(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr)
    return code
