"""Whether a training fits into memory: asked before anything is allocated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnetbk.errors import UserError
from resnetbk.exhausted import exhausted
from resnetbk.kinds import Embedding
from resnetbk.model.assemble import build, build_layer
from resnetbk.runs.checkpoint_manifest import MODEL, OPTIMIZER
from resnetbk.runs.state import join
from resnetbk.spec.spec import Model, Spec, by_layer

BYTES = 12
"""For each parameter: itself, its gradient, and the least that an optimizer keeps of it, in fp32."""

SMALLER = "make model.width, model.depth, the vocabulary, data.window or train.batch smaller"


def check_memory(spec: Spec, vocabulary: int, device: torch.device, processes: int = 1) -> None:
    """Raises UserError when what must be held at once (weights, gradients, optimizer state, the batch's
    tokens and one window's scores) is more than the free memory, as if all weights were trained."""
    parameters = count(spec.model, vocabulary)
    shares = processes if spec.train.parallel == "fsdp" else 1
    window = spec.data.window
    tokens = 16 * spec.train.batch * (window + 1)
    needed = BYTES * parameters // shares + tokens + 4 * window * (vocabulary + spec.model.width)
    free = free_memory(device)
    if free is not None and needed > free:
        raise UserError(
            f"model: {parameters:,} parameters, {spec.train.batch:,} windows of {window:,} tokens and a "
            f"vocabulary of {vocabulary:,} need {needed / 1e9:,.1f} GB or more, and {free / 1e9:,.1f} GB are "
            f"free, which {max(0, (free - tokens) * shares // BYTES):,} parameters would fit into; {SMALLER}"
        )


def largest_files(spec: Spec) -> Callable[[Any], dict[str, int]]:
    """From a checkpoint's state, the bytes that the files of its tensors can have at most if it is of `spec`:
    generous to what plugins keep. Nothing where that cannot be told."""

    def of(state: Any) -> dict[str, int]:
        try:
            saved = join(state["tokenizer"], {})
        except (KeyError, TypeError, ValueError):
            return {}
        parameters = count(spec.model, spec.data.tokenizer.component.restore(state=saved).vocabulary)
        model, rest = 8 * parameters + (64 << 20), 256 * parameters + (1 << 30)
        return {MODEL: model, OPTIMIZER: rest} if parameters else {}

    return of


def count(model: Model, vocabulary: int) -> int:
    """The parameters of embedding, layers and head, without allocating any; 0 where a component cannot be
    built so."""
    width = model.width
    with suppress(Exception), torch.device("meta"):
        embedding = build("model.embedding", model.embedding, Embedding, vocabulary=vocabulary, width=width)
        parameters = _size(embedding) + (0 if model.tie else vocabulary * width)
        for key, chosen in (("model.mixer", model.mixer), ("model.channel", model.channel)):
            layers = by_layer(key, chosen, model.distinct)
            keys = [at for at, _ in layers]
            for at, times in Counter(keys).items():  # as large in each layer as in its first
                first = keys.index(at)
                parameters += times * _size(build_layer(*layers[first], nn.Module, model, first))
        return parameters
    return 0


def _size(part: object) -> int:
    return sum(p.numel() for p in part.parameters()) if isinstance(part, nn.Module) else 0


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process can still have, swap included; None where the system does not tell."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    limits = []
    with suppress(ImportError, OSError, ValueError, KeyError):
        import resource  # here, since not every system has it

        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        said = dict(line.split(":") for line in lines)
        limits.append(sum(1024 * int(said[name].split()[0]) for name in ("MemAvailable", "SwapFree")))
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
        addresses, resident = (int(number) * resource.getpagesize() for number in pages[:2])
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)  # ulimit -v
        if limit != resource.RLIM_INFINITY:
            limits.append(limit - addresses)
        container = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")
        limits.append(int(container) - resident)
    return max(0, min(limits)) if limits else None


@contextmanager
def told_if_exhausted() -> Iterator[None]:
    """Raises UserError when memory runs out all the same."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not exhausted(error):
            raise
        raise UserError(f"memory does not suffice for this training; {SMALLER}") from error
