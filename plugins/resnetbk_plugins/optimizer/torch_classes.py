"""The optimizers of the installed torch and their options, read from its source: importing takes seconds."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

REFUSED = {
    "LBFGS": "computes the loss several times an update, for which it needs a closure",
    "Muon": "takes matrices alone; use = 'muon' takes all weights, and AdamW for the others",
    "SparseAdam": "takes sparse gradients alone; those of tables go to Adagrad here, at table_lr",
}
"""Classes that cannot train a model here, and why."""

WHOLE = ("Adafactor", "Rprop")
"""Classes that torch cannot run on weights distributed among processes (2.13)."""

NOT_HERE = ("capturable", "differentiable", "maximize")
"""Options that are for other purposes than to lower a loss step by step."""


@cache
def options() -> dict[str, tuple[str, ...]]:
    """The options of each class by its name, those refused included; no option is `params` or `lr`."""
    torch = find_spec("torch")
    assert torch
    assert torch.origin
    classes = {}
    for file in sorted(Path(torch.origin).with_name("optim").glob("*.py")):
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, ast.ClassDef):
                arguments = _arguments(node)
                if arguments[:3] == ("self", "params", "lr"):
                    classes[node.name] = arguments[3:]
    return classes


def _arguments(node: ast.ClassDef) -> tuple[str, ...]:
    """Of the constructor; none where it is inherited."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return tuple(arg.arg for arg in (*item.args.args, *item.args.kwonlyargs))
    return ()
