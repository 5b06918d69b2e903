"""What a trained run spends where: numbers for every token of a text, every layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch
from torch import Tensor

from resnetbk.errors import NumericError, UserError
from resnetbk.metering.depth import layers_run, masks
from resnetbk.model.passes import LayerStatistics
from resnetbk.training.objective import TOKENS_PER_PASS, autocast, token_losses
from resnetbk.training.run import Run

if TYPE_CHECKING:
    from resnetbk.kinds import Array

MOST = 4096
"""Tokens that are read: what follows them in a text is left out."""


@attrs.frozen
class LayerRows:
    """Rows at a layer, over all tokens read: those present at its scale, and those of them that its
    mixer and its channel mixer computed."""

    present: int
    mixer: int
    channel: int

    @property
    def computed(self) -> float:
        """What only half of the layer computed counts half."""
        return (self.mixer + self.channel) / 2


@attrs.frozen(eq=False)
class Strip:
    """One layer's rows in the first window: position (m,) rising, mixer (m,) and channel (m,) bool."""

    position: Array
    mixer: Array
    channel: Array


@attrs.frozen
class Group:
    """The tokens for which equally many layers ran.

    loss  mean nats of these tokens themselves, and next: of the tokens that follow them, which these layers
          had to predict; NaN where none of them has one (nothing predicts the first token)
    """

    layers: float
    tokens: int
    loss: float
    next: float


@attrs.frozen(eq=False)
class Explanation:
    """What a run did with a text.

    pieces       the bytes of each token, T of them; left_out more were not read
    layers       (T,) layers that ran for each token, where a layer that ran half counts half
    losses       (T,) nats that predicting each token from those before it cost; NaN for the first one
    rows         by layer; strips: the same layers in the first window, of `span` tokens
    window       the longest that the model saw at once: each window begins anew, knowing nothing before it
    """

    name: str
    text: str
    pieces: tuple[bytes, ...]
    left_out: int
    layers: Array
    losses: Array
    rows: tuple[LayerRows, ...]
    strips: tuple[Strip, ...]
    span: int
    window: int

    @property
    def depth(self) -> int:
        return len(self.rows)

    @property
    def loss(self) -> float:
        """Mean nats/token."""
        return float(np.nanmean(self.losses))

    @property
    def bits_per_byte(self) -> float:
        return float(np.nansum(self.losses)) / math.log(2) / max(1, sum(map(len, self.pieces[1:])))

    @property
    def share(self) -> float:
        """Rows computed, of those that a model without policies would compute."""
        return sum(layer.computed for layer in self.rows) / (self.depth * len(self.pieces))

    def groups(self) -> list[Group]:
        """By layers run, fewest first."""
        after = np.append(self.losses[1:], math.nan)
        return [
            Group(float(layers), int(here.sum()), _mean(self.losses[here]), _mean(after[here]))
            for layers in np.unique(self.layers)
            for here in [self.layers == layers]
        ]

    def correlations(self) -> tuple[float, float]:
        """Of layers run with the loss of the token itself, and with that of the next one (Pearson); NaN where
        one of the two is the same for all tokens."""
        return (
            _correlation(self.layers[1:], self.losses[1:]),
            _correlation(self.layers[:-1], self.losses[1:]),
        )


def explain(run: Run, text: bytes, name: str) -> Explanation:
    """Runs the model over the first MOST tokens of a text called `name`, in windows of the run's own length
    that do not overlap.

    Raises UserError for a text that is no text of the run's tokenizer, or too short; NumericError.
    """
    tokens = _encoded(run, text, name)
    shown, window = tokens[:MOST], run.spec.data.window
    layers, losses = [], []
    statistics: list[tuple[LayerStatistics, ...]] = []
    model, device = run.model, run.model.embedding.weight.device
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for inputs, targets in _batches(shown, window, device):
            with autocast(device, run.spec.train.precision):
                output = model(inputs)
            losses.append(token_losses(output.logits, targets).flatten().cpu().numpy())
            run_layers = layers_run(output.layers, inputs.shape[1], output.documents)
            layers.append(run_layers.flatten().cpu().numpy())
            statistics.append(output.layers)
    model.train(was_training)
    # the last token predicts nothing that is known; the first one is predicted by nothing
    cost = np.concatenate([[math.nan], np.concatenate(losses)[:-1]])
    if not np.isfinite(cost[1:]).all():
        raise NumericError(f"{run.folder.path}: the loss on {name} is {cost[1:].mean()}")
    return Explanation(
        name=run.spec.name,
        text=name,
        pieces=tuple(run.tokenizer.decode([token]) for token in shown.tolist()),
        left_out=len(tokens) - len(shown),
        layers=np.concatenate(layers),
        losses=cost,
        rows=tuple(_total(each) for each in zip(*statistics, strict=True)),
        strips=tuple(map(_strip, statistics[0])),
        span=min(window, len(shown)),
        window=window,
    )


def as_json(explanation: Explanation) -> dict[str, Any]:
    """All numbers as JSON values. Bytes of a token that are no UTF-8 by themselves are spelled `\\xc3`."""
    own, following = explanation.correlations()
    tokens = zip(explanation.pieces, explanation.layers.tolist(), explanation.losses.tolist(), strict=True)
    return {
        "run": explanation.name,
        "text": explanation.text,
        "tokens_left_out": explanation.left_out,
        "window": explanation.window,
        "depth": explanation.depth,
        "layers": float(explanation.layers.mean()),
        "share": explanation.share,
        "loss": explanation.loss,
        "bits_per_byte": explanation.bits_per_byte,
        "correlation": {"loss": _number(own), "next": _number(following)},
        "depths": [_finite(attrs.asdict(group)) for group in explanation.groups()],
        "rows": [{**attrs.asdict(layer), "computed": layer.computed} for layer in explanation.rows],
        "tokens": [
            {"text": piece.decode(errors="backslashreplace"), "layers": layers, "loss": _number(loss)}
            for piece, layers, loss in tokens
        ],
    }


def _encoded(run: Run, text: bytes, name: str) -> Array:
    if not text:
        raise UserError(f"{name}: is empty")
    try:
        tokens = run.tokenizer.encode(text)
    except UserError as error:
        raise UserError(*(f"{name}: {mistake}" for mistake in error.mistakes)) from None
    if len(tokens) < 2:
        raise UserError(f"{name}: holds one token; there is no loss before the second")
    return tokens


def _batches(tokens: Array, window: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Inputs and targets, (B, N) each, of all tokens in order; the last target is the last token again."""
    inputs = torch.from_numpy(tokens.astype(np.int64)).to(device)
    targets = torch.cat([inputs[1:], inputs[-1:]])
    whole = len(inputs) // window * window
    step = max(1, TOKENS_PER_PASS // window) * window
    ends = [*range(step, whole, step), whole, len(inputs)]
    parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False) if end > start]
    return [
        (inputs[part].view(-1, length), targets[part].view(-1, length))
        for part in parts
        for length in [min(window, part.stop - part.start)]
    ]


def _total(statistics: Sequence[LayerStatistics]) -> LayerRows:
    """Of one layer, over all passes."""
    counts = [[int(mask.sum()) for mask in masks(layer)] for layer in statistics]
    return LayerRows(*map(sum, zip(*counts, strict=True)))


def _strip(layer: LayerStatistics) -> Strip:
    real, mixer, channel = (mask[0].cpu().numpy() for mask in masks(layer))
    return Strip(layer.position[0].cpu().numpy()[real], mixer[real], channel[real])


def _mean(losses: Array) -> float:
    known = losses[np.isfinite(losses)]
    return float(known.mean()) if known.size else math.nan


def _correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else math.nan


def _number(value: float) -> float | None:
    """None for NaN, which JSON has not."""
    return value if math.isfinite(value) else None


def _finite(tree: Mapping[str, float]) -> dict[str, float | None]:
    return {key: _number(value) for key, value in tree.items()}
