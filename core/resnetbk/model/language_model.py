"""A language model: embedding, trunk, head."""

from __future__ import annotations

from functools import cache

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.kinds import Embedding, Exit, Penalties, Weight, with_role
from resnetbk.model.layer import norm
from resnetbk.model.passes import LayerStatistics, StreamState
from resnetbk.model.rows import Documents
from resnetbk.model.trunk import Trunk
from resnetbk.model.weights import weights


@attrs.define(eq=False)
class Answer:
    """The predictions of an `Exit`: logits (B, N, V), with its weight and confidence."""

    logits: Tensor
    weight: Tensor | float
    confidence: Tensor | None


@attrs.define(eq=False)
class Output:
    """logits (B, N, V), or (R, V) of rows asked; penalties by name; what each layer did, of `documents` if
    windows were cut into them; the answers to train on, if not logits."""

    logits: Tensor
    penalties: Penalties
    layers: tuple[LayerStatistics, ...]
    answers: tuple[Answer, ...]
    documents: Documents | None = None

    @property
    def rows(self) -> tuple[float, ...]:
        """How many rows each layer computed; B * N are one per token."""
        return tuple(layer.rows for layer in self.layers)


class LanguageModel(nn.Module):
    """Causal: logits at position i depend on tokens <= i alone; and where `begins` (V,) bool says with which
    tokens a document begins, on those of its document. `provides`: capabilities of all parts."""

    embedding: Embedding
    begins: Tensor | None

    def __init__(
        self, embedding: Embedding, trunk: Trunk, *, width: int, vocabulary: int, style: str, tie: bool,
        provides: frozenset[str], eps: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = embedding
        self.trunk = trunk
        self.norm = norm(style, width, eps)
        self.provides = provides
        self.register_buffer("begins", None, persistent=False)
        self.head: nn.Linear | None = None
        if not tie:
            self.head = nn.Linear(width, vocabulary, bias=False)
            with_role(self.head.weight, "table")
            nn.init.zeros_(self.head.weight)  # starts at the uniform guess, and learns from the first step

    def forward(self, tokens: Tensor, asked: Tensor | None = None) -> Output:
        """(B, N) int64 -> logits (B, N, V), or (R, V) where `asked`, (B, N) bool, chooses R rows. N may be
        anything the components allow."""
        cut = None if self.begins is None else Documents(self.begins[tokens])
        if cut:
            tokens = cut.pad(tokens)
        position = torch.arange(tokens.shape[1], device=tokens.device).repeat(tokens.shape[0], 1)
        rows = self.embedding(tokens, position)
        needed = cut.pad(asked) if cut and asked is not None else asked
        x, pass_ = self.trunk(rows, tokens, position, cut.length if cut else None, needed)
        exits = pass_.exits
        if cut:
            unpad = cache(cut.unpad)  # the rows of an exit may be x itself
            x, exits = unpad(x), tuple(Exit(*map(unpad, (e.x, e.weight, e.confidence))) for e in exits)
        logits = self._logits(x, asked)
        answers = tuple(
            Answer(logits if exit.x is x else self._logits(exit.x, asked), exit.weight, exit.confidence)
            for exit in exits
        )
        return Output(logits, pass_.penalties, tuple(pass_.layers), answers, cut)

    def anneal(self, progress: float) -> None:
        """Passes the share of the training that is done, in [0, 1), to all parts that have `anneal`."""
        for part in self.children():
            for module in part.modules():
                if callable(getattr(module, "anneal", None)):
                    module.anneal(progress)  # type: ignore[operator]

    def initial_state(self, batch: int) -> StreamState:
        """The state before the first token, for models whose parts all provide `streaming`."""
        return {
            "embedding": self.embedding.initial_state(batch),
            "trunk": self.trunk.initial_state(batch),
            "position": torch.zeros(batch, dtype=torch.long, device=self.embedding.weight.device),
        }

    def step(self, tokens: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """The next token of each sequence, (B,) int64 -> logits (B, V) and the state after it."""
        position = state["position"]
        x, embedding = self.embedding.step(tokens, position, state["embedding"])
        x, trunk = self.trunk.step(x, tokens, position, state["trunk"])
        return self._logits(x), {"embedding": embedding, "trunk": trunk, "position": position + 1}

    def _logits(self, x: Tensor, asked: Tensor | None = None) -> Tensor:
        return F.linear(self.norm(x if asked is None else x[asked]), (self.head or self.embedding).weight)

    def weights(self) -> list[Weight]:
        """The trainable parameters with their roles, in a fixed order."""
        return weights(self)

    def parameter_count(self) -> int:
        """Trainable parameters, shared ones once."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
