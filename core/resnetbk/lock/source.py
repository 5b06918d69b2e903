"""The source that a component really consists of, as one sha256."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

_DOTTED = re.compile(r"\.?[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def source_sha256(cls: type) -> str | None:
    """Of the source of `cls`, in hexadecimal; None when it has no file.

    That is the file of its module and every module of its own package that it imports or names in a string
    (as for `import_module`), directly or not, at the top or inside functions, with the packages around them:
    all that can run but core, torch and other distributions, which have versions. A module outside of any
    package counts the modules beside it as its own.
    """
    try:
        first = Path(inspect.getsourcefile(cls) or "")
        files = _files(cls.__module__, first)
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    except (TypeError, OSError):
        return None


def _files(module: str, first: Path) -> list[Path]:
    """The first file, then the others in the order of their modules' names."""
    is_package = first.name == "__init__.py"
    depth = module.count(".") + is_package
    root = first.parents[depth] if depth < len(first.parents) else first.parent
    waiting = list(accumulate(module.split("."), "{}.{}".format))
    files: dict[str, Path] = {module: first}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = files.get(name) or _locate(name, root, module.partition(".")[0] if depth else "")
        if file is not None:
            files[name] = file
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            for imported in _imports(file.read_bytes(), package):
                waiting += accumulate(imported.split("."), "{}.{}".format)
    others = (files[name] for name in sorted(files) if name != module)
    return [first, *(file for file in others if file != first)]


def _locate(name: str, root: Path, top: str) -> Path | None:
    """The file of a module of package `top` below `root`, or of a module right in it when `top` is empty."""
    if name.partition(".")[0] != top if top else "." in name:
        return None
    path = root.joinpath(*name.split("."))
    candidates = [path.with_name(f"{path.name}.py"), *([path / "__init__.py"] if top else [])]
    return next((file for file in candidates if file.is_file()), None)


@functools.lru_cache(maxsize=1024)
def _imports(source: bytes, package: str) -> tuple[str, ...]:
    """The names that a module in `package` may import; some name what stands in a module."""
    try:
        return tuple(_imported(ast.parse(source), package))
    except (SyntaxError, ValueError, RecursionError):
        return ()  # it cannot be imported either


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*filter(None, above), *filter(None, [node.module])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _DOTTED.fullmatch(node.value):
            yield f"{package}{node.value}" if node.value.startswith(".") else node.value
