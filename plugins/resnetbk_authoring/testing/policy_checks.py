"""Checks of halting policies, schedulers and gates by themselves."""

from __future__ import annotations

import torch

from resnetbk.kinds import Rows
from resnetbk_authoring.testing.subject import DEPTH, WIDTH, Subject, require, same, seeded


def weights_sum_to_one(subject: Subject) -> None:
    """Rows that no layer changes leave as they entered: a mean of states has weights that sum to 1."""
    for training in (False, True):
        policy, rows = subject.build(training=training), _rows()
        with seeded():
            halting = policy.begin(0, rows)
            for layer in range(DEPTH):
                halting.observe(layer, rows.x)
            same(halting.finish().x, rows.x, "rows that nothing changed", tolerance=1e-6)


def halting_is_final(subject: Subject) -> None:
    """A row that has halted does not run again."""
    policy, rows = subject.build(), _rows()
    halting = policy.begin(0, rows)
    before = torch.ones_like(rows.position, dtype=torch.bool)
    for layer in range(DEPTH):
        now = torch.ones_like(before) if halting.running is None else halting.running
        require(not (now & ~before).any(), f"after layer {layer - 1} rows run that had halted")
        before = now
        halting.observe(layer, rows.x + layer)


def no_wasted_rows(subject: Subject) -> None:
    """It computes no row in vain: no computed row is multiplied by zero afterwards."""
    for training in (False, True):
        gate = subject.build(training=training)
        for layer in range(DEPTH):
            with seeded():
                keep = gate.keep(layer, _rows())
            if keep.weight is None:
                continue
            computed = torch.ones_like(keep.weight, dtype=torch.bool) if keep.mask is None else keep.mask
            wasted = (keep.weight.detach()[computed] == 0).float().mean()
            require(not wasted > 0, f"{wasted:.0%} of the rows that layer {layer} computes are thrown away")


def coarse_rows_are_fewer(subject: Subject) -> None:
    """Each level has fewer rows than the one below; positions rise, and stay within the text."""
    scheduler = subject.build()
    rows, tokens = _rows(40), torch.tensor(list(b"some words, and more words of a short text")[:40])
    top = max(stack.level for stack in scheduler.stacks)
    for level in range(1, top + 1):
        coarse = scheduler.down(level, rows, tokens.repeat(2, 1))
        require(
            coarse.x.shape[1] < rows.x.shape[1], f"level {level} has {coarse.x.shape[1]} rows of 40 tokens"
        )
        for i in range(2):
            real = coarse.x.shape[1] if coarse.length is None else int(coarse.length[i])
            at = coarse.position[i, :real]
            require((at.diff() > 0).all(), f"level {level}: positions do not rise")
            require(at.min() >= 0 and at.max() < 40, f"level {level}: positions outside of the text")
        rows = coarse


def _rows(count: int = 24) -> Rows:
    source = torch.Generator().manual_seed(7)
    x = torch.randn(2, count, WIDTH, dtype=torch.float64, generator=source)
    return Rows(x, torch.arange(count).repeat(2, 1))
