"""Policies with given decisions, and a trunk around them."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn

from resnetbk.kinds import Exit, Finished, Keep, Rows, Stack, with_role
from resnetbk.model.language_model import LanguageModel
from resnetbk.model.layer import Layer
from resnetbk.model.trunk import Trunk

WIDTH, VOCABULARY = 8, 11


class Sum(nn.Module):
    """A causal mixer: a decayed running sum of a projection, which records the rows it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(WIDTH, WIDTH)
        self.handed: list[tuple[int, ...]] = []

    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        self.handed.append(tuple(x.shape[:2]) if length is None else tuple(length.tolist()))
        total, rows = torch.zeros_like(x[:, :1]), []
        for row in self.output(x + 0.1 * position[..., None]).split(1, dim=1):
            total = 0.5 * total + row
            rows.append(total)
        return torch.cat(rows, 1) if rows else x

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return {"total": torch.zeros(batch, WIDTH), "cache": torch.zeros(batch, 0)}

    def step(self, x: Tensor, position: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        total = 0.5 * state["total"] + self.output(x + 0.1 * position[:, None])
        return total, {"total": total, "cache": torch.cat([state["cache"], x[:, :1]], 1)}


class Square(nn.Module):
    """A channel mixer that records its rows and has a penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(WIDTH, WIDTH)
        self.handed: list[int] = []

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.handed.append(x.shape[0])
        return self.output(x).tanh(), {"balance": torch.tensor(0.5)}


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = with_role(nn.Parameter(torch.randn(VOCABULARY, WIDTH)), "table")

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        return self.weight[tokens]

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return {}

    def step(self, tokens: Tensor, position: Tensor, state: dict[str, Tensor]):
        return self.weight[tokens], state


class Open:
    scope = "layer"

    def keep(self, layer: int, rows: Rows) -> Keep:
        return Keep()

    def fill(self, layer: int, before: Tensor, after: Tensor, keep: Keep) -> Tensor:
        raise AssertionError("nothing was left out, so nothing is filled in")

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return {}


@attrs.define
class Every(Open):
    """Keeps the rows at positions that `every` divides, weighs them, and fills the others with a running
    mean of what layers added to computed rows: a fill that needs state."""

    every: int = 2
    weight: float = 0.5
    scope: str = "layer"

    def keep(self, layer: int, rows: Rows) -> Keep:
        mask = (rows.position + layer) % self.every == 0
        weight = torch.full(mask.shape, self.weight)
        return Keep(mask, weight, {"sparsity": mask.float().mean()})

    def fill(self, layer: int, before: Tensor, after: Tensor, keep: Keep) -> Tensor:
        state, rows = self.initial_state(before.shape[0]), []
        for i in range(before.shape[1]):
            at = slice(i, i + 1)
            row, state = self.fill_step(layer, before[:, at], after[:, at], Keep(keep.mask[:, at]), state)
            rows.append(row)
        return torch.cat(rows, 1)

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return {f"added{layer}": torch.zeros(batch, 1, WIDTH) for layer in range(8)}

    def fill_step(self, layer, before, after, keep, state):
        name = f"added{layer}"
        computed = keep.mask[..., None]
        added = torch.where(computed, after - before, state[name])
        return torch.where(computed, after, before + 0.1 * added), {**state, name: added}


class Never:
    def begin(self, stack: int, rows: Rows):
        return _Pass(None, rows)


@attrs.define
class Depth:
    """Runs as many layers for a row as `depths` says at its position, modulo its length."""

    depths: tuple[int, ...]

    def begin(self, stack: int, rows: Rows):
        depth = torch.tensor(self.depths)[rows.position % len(self.depths)]
        return _Pass(depth, rows)


class Exits:
    """Every layer is an exit; the last one has the output rows."""

    def begin(self, stack: int, rows: Rows):
        return _Exits(rows)


class _Exits:
    running = None

    def __init__(self, rows: Rows) -> None:
        self.left: list[Exit] = []

    def observe(self, layer: int, x: Tensor) -> None:
        self.left.append(Exit(x))

    def finish(self):
        return Finished(self.left[-1].x, {}, tuple(self.left))


class _Pass:
    def __init__(self, depth: Tensor | None, rows: Rows) -> None:
        self.depth, self.done, self.x = depth, 0, rows.x
        self.running = None if depth is None else depth > 0

    def observe(self, layer: int, x: Tensor) -> None:
        self.done, self.x = self.done + 1, x
        if self.depth is not None:
            self.running = self.depth > self.done

    def finish(self):
        return Finished(self.x, {"ponder": torch.tensor(0.25)})


class Flat:
    def __init__(self, depth: int) -> None:
        self.stacks = (Stack(0, tuple(range(depth))),)

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return {}


class Strided(nn.Module):
    """Levels of a row every `factor` finer ones, the mean of the last `factor`; unequal per sequence when
    `skewed`, when they depend on the token too (the first row always begins a coarse row)."""

    def __init__(self, stacks: tuple[Stack, ...], factor: int = 3, skewed: bool = False) -> None:
        super().__init__()
        self.stacks, self.factor, self.skewed = stacks, factor, skewed
        self.mix = nn.Linear(WIDTH, WIDTH)

    def _begins(self, level: int, position: Tensor, token: Tensor) -> Tensor:
        finer = self.factor ** (level - 1)
        shift = token % 2 if self.skewed else 0
        return (position == 0) | (position % finer == 0) & ((position // finer + shift) % self.factor == 0)

    def down(self, level: int, rows: Rows, tokens: Tensor) -> Rows:
        batch = rows.x.shape[0]
        state = self.initial_state(batch)
        picked: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(batch)]
        real = rows.length if rows.length is not None else torch.full((batch,), rows.x.shape[1])
        for i in range(rows.x.shape[1]):
            row = Rows(rows.x[:, i : i + 1], rows.position[:, i : i + 1])
            token = tokens.gather(1, row.position)
            coarse, begins, state = self.down_step(level, row, token, state)
            for b in range(batch):
                if begins[b] and i < real[b]:
                    picked[b].append((coarse.x[b, 0], coarse.position[b, 0]))
        length = torch.tensor([len(p) for p in picked])
        x = torch.zeros(batch, int(length.max()), WIDTH, dtype=rows.x.dtype)
        position = torch.zeros(batch, int(length.max()), dtype=torch.long)
        for b, chosen in enumerate(picked):
            for j, (value, where) in enumerate(chosen):
                x[b, j], position[b, j] = value, where
        return Rows(x, position, length)

    def up(self, level: int, fine: Rows, coarse: Rows) -> Rows:
        known = coarse.position
        if coarse.length is not None:
            beyond = torch.arange(known.shape[1]) >= coarse.length[:, None]
            known = known.masked_fill(beyond, 10**9)
        last = torch.searchsorted(known, fine.position, right=True) - 1
        read = coarse.x.gather(1, last.clamp(min=0)[..., None].expand(-1, -1, WIDTH))
        return attrs.evolve(fine, x=fine.x + self.mix(read))

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        deepest = max(stack.level for stack in self.stacks)
        return {f"mean{level}": torch.zeros(batch, 1, WIDTH) for level in range(1, deepest + 1)}

    def down_step(self, level: int, row: Rows, token: Tensor, state: dict[str, Tensor]):
        mean = 0.5 * state[f"mean{level}"] + row.x
        begins = self._begins(level, row.position, token)[:, 0]
        return Rows(mean, row.position), begins, {**state, f"mean{level}": mean}


def build(
    *, depth: int = 4, halting=None, gate=None, resolution=None, wiring: str = "sequential", seed: int = 0
) -> LanguageModel:
    torch.manual_seed(seed)
    layers = [Layer(Sum(), Square(), width=WIDTH, style="rms", wiring=wiring) for _ in range(depth)]
    trunk = Trunk(
        layers, halting=halting or Never(), resolution=resolution or Flat(depth), gate=gate or Open()
    )
    model = LanguageModel(
        Table(), trunk, width=WIDTH, vocabulary=VOCABULARY, style="rms", tie=False,
        provides=frozenset({"causal", "streaming", "any-length"}),
    )  # fmt: skip
    nn.init.normal_(model.head.weight)
    return model.double()
