"""References for training steps: a plain GPT of torch alone, and nanoGPT's own model from a checkout."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Plain(nn.Module):
    """A GPT of torch alone: one projection for q, k, v, SDPA, GELU, learned positions."""

    def __init__(self, width: int, depth: int, heads: int, window: int, vocabulary: int = 256) -> None:
        super().__init__()
        self.heads = heads
        self.table, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(window, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2 * depth + 1))
        shapes = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
        self.maps = nn.ModuleList(nn.Linear(*shape, bias=False) for _ in range(depth) for shape in shapes)

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        x = self.table(tokens) + self.positions.weight[: tokens.shape[1]]
        for layer in range(len(self.maps) // 4):
            qkv, mixed, up, down = self.maps[4 * layer : 4 * layer + 4]
            parts = qkv(self.norms[2 * layer](x)).chunk(3, -1)
            q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + mixed(y.transpose(1, 2).flatten(2))
            x = x + down(F.gelu(up(self.norms[2 * layer + 1](x))))
        logits = F.linear(self.norms[-1](x), self.table.weight)
        return logits, F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def reference_step(model: nn.Module, batch: int, window: int) -> Callable[[], object]:
    """A training step of a compiled model that gives (logits, loss), on random tokens; gradients are clipped,
    as ours are and nanoGPT's."""
    optimizer = torch.optim.AdamW(model.cuda().parameters(), lr=1e-4, fused=True)
    compiled = torch.compile(model)
    inputs, targets = torch.randint(256, (2, batch, window), device="cuda")

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            _, loss = compiled(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def nanogpt(folder: Path, **config: Any) -> nn.Module:
    named = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert named is not None
    assert named.loader is not None
    module = importlib.util.module_from_spec(named)
    sys.modules[named.name] = module
    named.loader.exec_module(module)
    return module.GPT(module.GPTConfig(vocab_size=256, bias=False, **config))
