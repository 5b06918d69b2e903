"""No text is read or written in whatever encoding the locale has."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("core", "plugins", "docs") for path in (ROOT / folder).rglob("*.py"))


def bare(source: str) -> list[int]:
    """The lines of calls that open, read or write text and name no encoding."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if _is_text(call) and not _named(call)]


def _is_text(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("read_text", "write_text"):
        return not (call.args and name == "read_text")  # of a distribution, which is UTF-8
    if name not in ("open", "fdopen", "NamedTemporaryFile") or getattr(call.func, "value", None) is not None:
        return False
    mode = call.args[1] if len(call.args) > 1 else None
    return not (isinstance(mode, ast.Constant) and "b" in str(mode.value))


def _named(call: ast.Call) -> bool:
    return any(keyword.arg == "encoding" for keyword in call.keywords)


def test_every_text_names_its_encoding() -> None:
    lines_of = {path.relative_to(ROOT).as_posix(): bare(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert not {name: lines for name, lines in lines_of.items() if lines}


def test_a_bare_one_is_seen() -> None:
    assert bare("path.read_text()\nopen(p)\nopen(p, 'rb')\nopen(p, encoding='utf-8')") == [1, 2]
