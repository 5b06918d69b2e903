"""Operators of torch written in Python, as `torch.library.custom_op` makes them, but its first call imports
torch's compiler, which takes longer than many a training step: these do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Operator:
    """Decorator and operator. It has no side effects, and its results share no memory with its arguments.

    Without `register_autograd`, RuntimeError when it is differentiated.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        torch.library.define(name, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(name, "default", function)
        torch.library.register_autograd(name, self._differentiate, setup_context=self._prepare)
        namespace, operator = name.split("::")
        self._call = getattr(getattr(torch.ops, namespace), operator).default
        self._backward: Callable[..., Any] | None = None
        self._keep: Callable[..., None] | None = None

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def register_fake(self, fake: Callable[..., Any]) -> None:
        """`fake` gives empty tensors of the result's shapes."""
        torch.library.register_fake(self._call, fake)

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., None]) -> None:
        """As in torch: `backward(ctx, *gradients)`, `setup_context(ctx, inputs, output)`."""
        self._backward, self._keep = backward, setup_context

    def _differentiate(self, ctx: Any, *gradients: Any) -> Any:
        if self._backward is None:
            raise RuntimeError(f"{self._call}: can be differentiated only once")
        return self._backward(ctx, *gradients)

    def _prepare(self, ctx: Any, inputs: Any, output: Any) -> None:
        if self._keep is not None:
            self._keep(ctx, inputs, output)


def operator(name: str) -> Callable[[Callable[..., Any]], Operator]:
    """`@operator("resnetbk::name")` before a function of tensors with a complete signature."""
    return lambda function: Operator(name, function)
