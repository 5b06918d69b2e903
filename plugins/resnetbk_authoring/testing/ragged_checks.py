"""The check of `ragged`, for each kind of a model's components, which are handed padded rows directly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from resnetbk.kinds import Rows
from resnetbk.model.rows import real_rows
from resnetbk_authoring.testing.subject import DEPTH, WIDTH, Subject, same, seeded, text

REAL, PRESENT = (9, 40, 23), 40
"""How many rows of each sequence are no padding, and how many are present: enough for decisions to differ."""

Outcome = tuple[list[Rows], Tensor]
"""All rows that a component gives or decides on, and the sum of its penalties."""


def ragged(subject: Subject) -> None:
    """Packed rows of different lengths give what each gives by itself, whatever stands in the padding."""
    run = _RUNS[subject.entry.kind]
    rows, tokens = _packed()
    together, _ = run(subject.build(), rows, tokens)
    for i, real in enumerate(REAL):
        alone = Rows(rows.x[i : i + 1, :real], rows.position[i : i + 1, :real])
        single, _ = run(subject.build(), alone, tokens[i : i + 1, :real])
        for packed, by_itself in zip(together, single, strict=True):
            same(_real(packed, i), _real(by_itself, 0), f"a sequence of {real} rows, packed and alone")
    # in training, where random numbers may be drawn for the whole batch, only the padding changes
    (before, state_before), (after, state_after) = (_trained(subject, padding) for padding in (1, 2))
    for a, b in zip(before, after, strict=True):
        for i, real in enumerate(REAL):
            same(_real(a, i), _real(b, i), f"in training, a sequence of {real} rows beside other padding")
    same(state_after, state_before, "in training, penalties, weights and buffers beside other padding")


def _trained(subject: Subject, padding: int) -> tuple[list[Rows], list[Tensor]]:
    """The rows of a pass in training, and what else is there after it: penalties, weights and buffers."""
    built = subject.build(training=True)
    with seeded():
        rows, penalty = _RUNS[subject.entry.kind](built, *_packed(padding))
    state = built.state_dict().values() if isinstance(built, nn.Module) else ()
    return rows, [penalty, *(tensor.double() for tensor in state)]


def _packed(padding: int = 1) -> tuple[Rows, Tensor]:
    """Rows and their tokens, of which those that are no padding are always the same."""
    length = torch.tensor(REAL)
    real = real_rows(length, PRESENT)
    x, other = (
        torch.randn(len(REAL), PRESENT, WIDTH, dtype=torch.float64, generator=source)
        for source in (torch.Generator().manual_seed(seed) for seed in (0, padding))
    )
    position = torch.arange(PRESENT).repeat(len(REAL), 1)
    tokens = torch.where(real, text(PRESENT, 0, len(REAL)), text(PRESENT, padding, len(REAL)))
    return Rows(torch.where(real[..., None], x, other), position, length), tokens


def _real(rows: Rows, sequence: int) -> Tensor:
    """(M, D + 1): the rows of a sequence without its padding, with their positions."""
    count = rows.x.shape[1] if rows.length is None else int(rows.length[sequence])
    return torch.cat([rows.x[sequence], rows.position[sequence, :, None]], -1)[:count]


# ---------------------------------------------------------------- one pass of each kind


def _mixer(mixer: Any, rows: Rows, tokens: Tensor) -> Outcome:
    return _outcome(attrs.evolve(rows, x=mixer(rows.x, rows.position, rows.length)))


def _channel(mixer: Any, rows: Rows, tokens: Tensor) -> Outcome:
    real = _present(rows)
    y, penalties = mixer(rows.x[real])
    x = torch.zeros_like(rows.x).masked_scatter(real[..., None], y)
    return _outcome(attrs.evolve(rows, x=x), penalties)


def _embedding(embedding: Any, rows: Rows, tokens: Tensor) -> Outcome:
    return _outcome(attrs.evolve(rows, x=embedding(tokens, rows.position)))


def _halting(policy: Any, rows: Rows, tokens: Tensor) -> Outcome:
    """The rows that leave, with which of them each layer ran."""
    halting, present = policy.begin(0, rows), _present(rows)
    x, ran = rows.x, []
    for layer in range(DEPTH):
        running = present if halting.running is None else present & halting.running
        x = torch.where(running[..., None], 1.5 * x, x)
        halting.observe(layer, x)
        ran.append(running.to(x.dtype))
    finished = halting.finish()
    x = torch.cat([finished.x, torch.stack(ran, -1)], -1)
    return _outcome(attrs.evolve(rows, x=x), finished.penalties)


def _scheduler(scheduler: Any, rows: Rows, tokens: Tensor) -> Outcome:
    """All rows on the way down and up again."""
    finer: list[Rows] = []
    visited: list[Rows] = []
    top = max(stack.level for stack in scheduler.stacks)
    for level in range(1, top + 1):
        finer.append(rows)
        rows = scheduler.down(level, rows, tokens)
        visited.append(rows)
    for level in range(top, 0, -1):
        rows = scheduler.up(level, finer.pop(), rows)
        visited.append(rows)
    return visited, torch.zeros(())


def _gate(gate: Any, rows: Rows, tokens: Tensor) -> Outcome:
    """The rows after each layer, with what it computed and with which weight."""
    present = _present(rows)
    after_layers, penalties = [], list[Tensor]()
    for layer in range(DEPTH):
        keep = gate.keep(layer, rows)
        mask = present if keep.mask is None else present & keep.mask
        weight = torch.ones_like(rows.x[..., 0]) if keep.weight is None else keep.weight
        x = torch.where(mask[..., None], 1.5 * rows.x, rows.x)
        if keep.mask is not None:
            x = gate.fill(layer, rows.x, x, attrs.evolve(keep, mask=mask))
        rows = attrs.evolve(rows, x=x)
        after_layers.append(attrs.evolve(rows, x=torch.cat([x, torch.stack([mask, weight], -1)], -1)))
        penalties += keep.penalties.values()
    return after_layers, _sum(penalties)


def _outcome(rows: Rows, penalties: Mapping[str, Tensor] | None = None) -> Outcome:
    return [rows], _sum((penalties or {}).values())


def _sum(penalties: Iterable[Tensor]) -> Tensor:
    return torch.as_tensor(sum(penalties))


def _present(rows: Rows) -> Tensor:
    """(B, M) bool: which rows are no padding."""
    if rows.length is None:
        return torch.ones_like(rows.position, dtype=torch.bool)
    return real_rows(rows.length, rows.x.shape[1])


_RUNS: dict[str, Callable[[Any, Rows, Tensor], Outcome]] = {
    "sequence-mixer": _mixer,
    "channel-mixer": _channel,
    "embedding": _embedding,
    "halting-policy": _halting,
    "resolution-scheduler": _scheduler,
    "sparsity-gate": _gate,
}
