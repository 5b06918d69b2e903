"""Counting the FLOPs that are really executed, whoever asks for them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resnetbk.errors import UserError
from resnetbk.metering.flop_formulas import Formula
from resnetbk.metering.flop_rules import formula
from resnetbk.model.language_model import LanguageModel

COMPOSITE_KERNEL = torch._C.DispatchKey.CompositeImplicitAutograd
TOLERATED = 0.01
"""The share of the time that operators of unknown cost may take."""

_DRAWS = (torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default)

_FORMULAS: dict[Any, Formula | str] = {}
"""What is known of operators that were met."""


class FlopCounter:
    """Counts what runs inside `with counter:`, forward and backward, on every device.

    flops       executed so far (see `flop_rules`)
    operators   the same by operator, `aten::mm`
    components  the same by the component that was at work, inside `by_component`; else under ""
    seconds     spent inside: of CPU time of the thread, which other work on the machine does not lengthen; of
                wall time where CUDA is in use
    unknown     such seconds in operators whose cost is not known, by name

    Results are the same to the bit with and without it; each operator takes some microseconds longer.
    """

    def __init__(self) -> None:
        self.flops = 0
        self.operators: dict[str, int] = defaultdict(int)
        self.components: dict[str, int] = defaultdict(int)
        self.seconds = 0.0
        self.unknown: dict[str, float] = defaultdict(float)
        self._at_work = [""]  # components, the innermost last
        self._mode = _Mode(self)
        self._since = 0.0
        self.now = time.thread_time

    def __enter__(self) -> FlopCounter:
        self.now = _cuda_time if torch.cuda.is_initialized() else time.thread_time  # type: ignore[no-untyped-call]
        self._since = self.now()
        self._mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        self._mode.__exit__(*exception)  # type: ignore[no-untyped-call]
        self.seconds += self.now() - self._since

    def check(self) -> None:
        """Raises UserError when operators of unknown cost took more than 1 % of the time."""
        if sum(self.unknown.values()) <= TOLERATED * self.seconds:
            return
        shares = sorted(((spent / self.seconds, name) for name, spent in self.unknown.items()), reverse=True)
        names = ", ".join(f"{name} ({share:.0%} of the time)" for share, name in shares[:5])
        raise UserError(
            f"cannot count the FLOPs of {names}; whoever provides it registers a formula: "
            f"torch.utils.flop_counter.register_flop_formula(torch.ops.{shares[0][1].replace('::', '.')})"
        )

    def begin(self, component: str, *_: object) -> None:
        """What runs until the matching `end` is the work of this component. Both can be hooks of a module."""
        self._at_work.append(component)

    def end(self, *_: object) -> None:
        self._at_work.pop()

    def count(self, operator: str, flops: int) -> None:
        self.flops += flops
        self.operators[operator] += flops
        self.components[self._at_work[-1]] += flops


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, for more than a second, to leave this class alone

    def __init__(self, counter: FlopCounter) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counter = counter

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS and args[0].is_meta:
            return args[0]  # as it is: torch would import its compiler to do nothing
        if func is torch.ops.aten.linspace.default and kwargs.get("device") == torch.device("meta"):
            return torch.empty(args[2], device="meta")  # and sympy for this
        known = _FORMULAS.get(func) or formula(func)
        if known is None:
            return self._unknown(func, args, kwargs)
        _FORMULAS[func] = known
        if isinstance(known, str):  # composite
            with self:
                return func._op_dk(COMPOSITE_KERNEL, *args, **kwargs)  # `decompose` may import sympy
        out = func(*args, **kwargs)
        flops = known(args, kwargs, out)
        if flops:
            self.counter.count(_name(func), flops)
        return out

    def _unknown(self, func: Any, args: Any, kwargs: Any) -> Any:
        started = self.counter.now()
        out = func(*args, **kwargs)
        self.counter.unknown[_name(func)] += self.counter.now() - started
        return out


def _name(func: Any) -> str:
    """`aten::mm`, without the overload."""
    schema = getattr(func, "_schema", None)
    return str(schema.name if schema is not None else func.name())


def _cuda_time() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


# ---------------------------------------------------------------- by component


@contextmanager
def by_component(
    model: LanguageModel, counter: FlopCounter, names: Mapping[str, Sequence[str]] | None = None
) -> Iterator[None]:
    """Splits the counter's `components`: `embedding`, `mixer`, `channel`, `norm`, `head`, the policies
    `halting`, `gate` and `resolution`, and `trunk` for what else it does (rows moved, residuals added).

    `names` has others for the `mixer` and the `channel` of each layer. Modules are watched by hooks, policies
    by standing in for them in the trunk.
    """
    trunk = model.trunk
    modules: list[tuple[Any, str]] = [
        (model, "head"),
        (model.embedding, "embedding"),
        (trunk, "trunk"),
        (model.norm, "norm"),
    ]
    for i, layer in enumerate(trunk.layers):
        modules += [
            (getattr(layer, kind), names[kind][i] if names else kind) for kind in ("mixer", "channel")
        ]
        modules += [(layer.mixer_norm, "norm"), (layer.channel_norm, "norm")]
    policies = ("halting", "resolution", "gate")
    attributes = vars(trunk)  # in front of policies that are modules, which torch keeps elsewhere
    own = {name: attributes[name] for name in policies if name in attributes}
    with ExitStack() as undo:
        for module, name in modules:
            undo.enter_context(module.register_forward_pre_hook(partial(counter.begin, name)))
            undo.enter_context(module.register_forward_hook(counter.end, always_call=True))
        undo.callback(attributes.update, own)
        for name in policies:
            attributes[name] = _Watched(getattr(trunk, name), counter, name)
            undo.callback(attributes.pop, name)
        yield


class _Watched:
    """A policy whose methods are charged to it, and the pass that a halting policy begins."""

    def __init__(self, real: Any, counter: FlopCounter, name: str) -> None:
        self._real, self._counter, self._name = real, counter, name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._real, attribute)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._counter.begin(self._name)
            try:
                result = value(*args, **kwargs)
            finally:
                self._counter.end()
            return _Watched(result, self._counter, self._name) if attribute == "begin" else result

        return call
