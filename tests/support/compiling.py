"""Compilers that tests bring in place of torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

COMPILE = torch.compile


def use(monkeypatch: Any, backend: Callable[..., Any]) -> None:
    """Graphs go to `backend`: whole ones, of fixed shapes."""

    def compile_(function: Any, *, fullgraph: bool, dynamic: bool, mode: str | None = None) -> Any:
        assert (fullgraph, dynamic, mode) == (True, False, None)
        return COMPILE(function, fullgraph=True, dynamic=False, backend=backend)

    monkeypatch.setattr(torch, "compile", compile_)


def failing(good: int, graphs: list[Any]) -> Callable[..., Any]:
    """A backend that fails after so many graphs, all of which it appends."""

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        if len(graphs) > good:
            raise RuntimeError("no compiler here")
        return graph.forward

    return backend
