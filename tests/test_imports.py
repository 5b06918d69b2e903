"""What is imported when: torch and plugins only by those who need them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

import resnetbk
import resnetbk_authoring
import resnetbk_instrument
import resnetbk_plugins

CORE, PLUGINS, AUTHORING, INSTRUMENT = ROOTS = [
    Path(package.__path__[0])
    for package in (resnetbk, resnetbk_plugins, resnetbk_authoring, resnetbk_instrument)
]

# what may import what: a folder imports from those further right alone
ORDER = ("cli", "training", "runs", "metering", "model", "lock", "spec", "registry")


def imported_by(*command: str) -> set[str]:
    """The modules that a fresh interpreter has after running `resnetbk` with these arguments."""
    code = (
        "import sys\nfrom resnetbk.cli import _run\n"
        "code = _run(sys.argv[1:])\nassert code == 0, code\n"
        "print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_imports_almost_nothing():
    code = "import sys; import resnetbk; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & {"torch", "numpy", "attrs", "cattrs", "click", "rich", "resnetbk_plugins"}


def test_list_imports_neither_torch_nor_a_plugin():
    modules = imported_by("list")
    assert not modules & {"torch", "cattrs", "tomlkit"}
    assert not any(name.startswith("resnetbk_plugins") for name in modules)


def test_show_and_check_do_not_import_torch(tmp_path):
    assert "torch" not in imported_by("show", "bk-causal")
    assert "torch" not in imported_by("check", str(tiny.write_spec(tmp_path)))


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_core_names_no_first_party_component_and_imports_downwards(path):
    text = path.read_text()
    assert "resnetbk_plugins" not in text
    assert "resnetbk_instrument" not in text
    assert "resnetbk_authoring" not in text
    folder = path.relative_to(CORE).parts[0]
    for node in ast.walk(ast.parse(text)):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            parts = name.split(".")
            if parts[0] != "resnetbk" or len(parts) < 2 or parts[1] not in ORDER:
                continue
            if folder in ORDER:
                assert parts[1] in ORDER[ORDER.index(folder) :], f"{folder} imports {name}"
            elif folder.removesuffix(".py") not in ("__init__", "__main__"):
                raise AssertionError(f"{path.name} imports {name}")


def test_core_contains_no_component_name():
    """Strings equal to the name of a component: core knows components by the registry alone."""
    from resnetbk.registry.lookup import Registry

    names = {entry.name for entry in Registry.discover().entries() if entry.plugin == "resnetbk"}
    # also plain words: fields, a TOML type, a library
    allowed = {"text", "tokens", "progress", "bytes", "table", "run", "torch"}
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names - allowed, f"{path}:{node.lineno} names {node.value}"


@pytest.mark.parametrize("root", ROOTS, ids=["core", "plugins", "authoring", "instrument"])
def test_nothing_evaluates_code_or_unpickles(root):
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "__import__"), path
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"pickle", "marshal", "shelve"}, path
            if isinstance(node, ast.Attribute):  # torch's collectives of objects pickle them
                assert not re.search("_object(_list)?$", node.attr), f"{path}:{node.lineno}"
            if isinstance(node, ast.Attribute) and node.attr in ("load", "save"):
                assert not (isinstance(node.value, ast.Name) and node.value.id == "torch"), path


def imports_of(roots: list[Path]) -> dict[str, set[str]]:
    """module -> modules of ours that it imports: at once, within functions and for types alone."""
    files = {}
    for root in roots:
        for path in root.rglob("*.py"):
            parts = path.relative_to(root.parent).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        graph[module] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    names.append(whole if whole in files else node.module)
            graph[module] |= {name for name in names if name in files and name != module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one module."""
    reached = {module: {module} for module in graph}
    for module, seen in reached.items():
        waiting = [module]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
    components = {frozenset(m for m in seen if module in reached[m]) for module, seen in reached.items()}
    return [set(component) for component in components if len(component) > 1]


def test_no_module_imports_in_a_circle_not_even_later_or_for_types():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}]
    graph = imports_of(ROOTS)
    assert len(graph) > 200
    assert "resnetbk.model.trunk" in graph["resnetbk.model.assemble"]
    assert (
        "resnetbk_plugins.sequence_mixer.bk_causal_module"
        in graph["resnetbk_plugins.sequence_mixer.bk_causal"]
    )
    assert circles(graph) == []
