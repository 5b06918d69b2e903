"""The spec: what model to assemble, from what data, and how to train it.

Each class is a table of a spec file and each field a key. A field of type `Part` is a choice of component;
its metadata names the kind. When a file leaves such a key out, it gets the registry's default of that kind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
from attrs.validators import and_, ge, gt, le, lt, optional

from resnetbk.kinds import KINDS

if TYPE_CHECKING:
    from resnetbk.registry import Entry

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@attrs.frozen
class Part:
    """A chosen component: what its manifest says, and its instance.

    entry      the manifest's entry
    component  a frozen attrs instance whose fields are the keys of its table; has `build(...)`
    layers     in a pattern, for how many layers one after the other it is; elsewhere None
    """

    entry: Entry
    component: Any
    layers: int | None = None

    @property
    def name(self) -> str:
        """The component's name, without its plugin's."""
        return self.entry.name


Layered: TypeAlias = Part | tuple[Part, ...]
"""One component for all layers, or a pattern of them, which repeats over the depth."""


@attrs.frozen(kw_only=True)
class Data:
    """What to learn from.

    corpus     the text and its held-out part
    tokenizer  text to tokens and back
    selector   which windows come next
    window     tokens in a window, the longest context in training
    documents  "cross": what stands before a document in its window is context; "pack": it is not
    """

    corpus: Part = attrs.field(metadata={"kind": "corpus"})
    tokenizer: Part = attrs.field(metadata={"kind": "tokenizer"})
    selector: Part = attrs.field(metadata={"kind": "data-selector"})
    window: int = attrs.field(default=256, validator=ge(1))
    documents: Literal["cross", "pack"] = attrs.field(default="cross")

    @documents.validator
    def _have_borders(self, field: attrs.Attribute[Any], value: str) -> None:
        if value == "pack" and not getattr(self.corpus.component, "separator", ""):
            form = 'corpus = { use = "packages", separator = "\\u0000" }'
            raise ValueError(f'"pack" needs a corpus with a separator between its documents, such as {form}')


@attrs.frozen(kw_only=True)
class Model:
    """What to assemble.

    width       model dimension, D
    depth       layers, at most 10,000
    mixer       how rows exchange information, or a pattern that repeats: [{ use = ..., layers = 3 }, ...]
    channel     what happens within a row, or a pattern of the same form
    embedding   tokens to rows
    halting     which rows go on after each layer
    resolution  at which scale each layer works
    gate        which rows a layer computes
    wiring      of mixer and channel mixer in a layer: "sequential", x + mixer(x), then x + channel(x); or
                "resnet-bk", x + c + mixer(c) with c = channel(x)
    norm        "rms", "layer", or "layer-bias"
    norm_eps    what norms add to the mean square or variance; if left out, as torch: 1.2e-7 or 1e-5
    tie         whether the head shares the embedding's table
    share       "none", or "layers": those of one round of the patterns, or one, run over and over to `depth`
    recompute   whether the backward pass computes what is inside layers again, which saves its memory
    """

    width: int = attrs.field(validator=ge(1))
    depth: int = attrs.field(validator=and_(ge(1), le(10_000)))
    mixer: Layered = attrs.field(metadata={"kind": "sequence-mixer"})
    channel: Layered = attrs.field(metadata={"kind": "channel-mixer"})
    embedding: Part = attrs.field(metadata={"kind": "embedding"})
    halting: Part = attrs.field(metadata={"kind": "halting-policy"})
    resolution: Part = attrs.field(metadata={"kind": "resolution-scheduler"})
    gate: Part = attrs.field(metadata={"kind": "sparsity-gate"})
    wiring: Literal["sequential", "resnet-bk"] = "sequential"
    norm: Literal["rms", "layer", "layer-bias"] = "rms"
    norm_eps: float | None = attrs.field(default=None, validator=optional(gt(0)))
    tie: bool = False
    share: Literal["none", "layers"] = attrs.field(default="none")
    recompute: bool = False

    @mixer.validator
    @channel.validator
    def _is_reached(self, field: attrs.Attribute[Any], value: Layered) -> None:
        before = sum(part.layers or 1 for _, part in keyed("", value)[:-1])
        if before >= self.depth > 0:
            after = f"its last entry comes after {before} layers, and depth = {self.depth}"
            raise ValueError(f"{after}: no layer has it; give depth = {before + 1} or more, or leave it out")

    @share.validator
    def _loops_are_whole(self, field: attrs.Attribute[Any], value: str) -> None:
        if value == "layers" and self.depth % (size := period(self)):
            more = self.depth + size - self.depth % size
            raise ValueError(f"depth = {self.depth} is no multiple of the pattern's {size}; give {more}")

    @property
    def distinct(self) -> int:
        """How many layers have weights of their own."""
        return period(self) if self.share == "layers" else self.depth


@attrs.frozen(kw_only=True)
class Train:
    """How to train it. At least one of `steps` and `seconds`; the run ends with whichever comes first.

    steps      updates
    seconds    wall-clock seconds of training
    batch      windows in a step
    optimizer  the update and its schedule
    gradient   how a step's gradients are computed
    start      the weights to start from
    parallel   how several processes average gradients: "average", after the backward pass; "ddp", during it;
               "fsdp", during it, and each holds a share of the weights alone
    average    decay of a moving average of the weights, with which the model is evaluated and saved
    precision  of matrix products: "fp32", "bf16", or "auto": bf16 where the device has units for it
    compile    whether steps are compiled: true, false, or "auto", as a whole and in long runs on CUDA only
    clip       largest global norm of a gradient; 0 turns clipping off
    evaluate   steps between validations; 0 validates at the end only
    evaluate_tokens  held-out tokens, from the first, in validations before the end; 0 takes all
    save       steps between checkpoints; 0 saves at the end only
    keep       newest checkpoints kept besides the best
    target     validation loss in nats/token at which to stop early
    target_accuracy  in a task: accuracy at held-out labels at which to stop early
    nonfinite  where loss or gradient is not finite: "stop", "skip" the step or "rollback" to a checkpoint
    log_every  the most steps whose losses wait on the device to be read; if left out 10 on CUDA, 1 on a CPU
    observe    who receives the events of the run
    """

    steps: int | None = attrs.field(default=None, validator=optional(ge(1)))
    seconds: float | None = attrs.field(default=None, validator=optional(gt(0)))
    batch: int = attrs.field(default=32, validator=ge(1))
    optimizer: Part = attrs.field(metadata={"kind": "optimizer"})
    gradient: Part = attrs.field(metadata={"kind": "gradient-strategy"})
    start: Part = attrs.field(metadata={"kind": "initializer"})
    parallel: Literal["average", "ddp", "fsdp"] = "average"
    average: float | None = attrs.field(default=None, validator=optional(and_(gt(0), lt(1))))
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", True, False] = "auto"
    clip: float = attrs.field(default=1.0, validator=ge(0))
    evaluate: int = attrs.field(default=0, validator=ge(0))
    evaluate_tokens: int = attrs.field(default=0, validator=ge(0))
    save: int = attrs.field(default=0, validator=ge(0))
    keep: int = attrs.field(default=2, validator=ge(0))
    target: float | None = attrs.field(default=None, validator=optional(gt(0)))
    target_accuracy: float | None = attrs.field(default=None, validator=optional(and_(gt(0), le(1))))
    nonfinite: Literal["stop", "skip", "rollback"] = "stop"
    log_every: int | None = attrs.field(default=None, validator=optional(ge(1)))
    observe: tuple[Part, ...] = attrs.field(default=(), metadata={"kind": "observer"})

    @evaluate_tokens.validator
    @target.validator
    @target_accuracy.validator
    def _is_evaluated(self, field: attrs.Attribute[Any], value: float | None) -> None:
        if value and not self.evaluate:
            raise ValueError("needs evaluate, such as evaluate = 100: it is about evaluations in training")

    @steps.validator
    def _ends(self, field: attrs.Attribute[Any], value: int | None) -> None:
        if value is None and self.seconds is None:
            raise ValueError("when should training end? give steps, seconds, or both")


@attrs.frozen(kw_only=True)
class Spec:
    """All of it.

    name  of the run and its folder: letters, digits, '.', '_' and '-', 100 at most
    seed  of weights, data order and everything else that is random, 0 to 2^63 - 1
    """

    name: str = attrs.field(metadata={"pattern": NAME.pattern})
    seed: int = attrs.field(default=0, validator=ge(0))
    data: Data
    model: Model
    train: Train = attrs.field()

    @train.validator
    def _evaluates_a_window(self, field: attrs.Attribute[Any], value: Train) -> None:
        if 0 < value.evaluate_tokens < self.data.window:
            few = f"evaluate_tokens: {value.evaluate_tokens} tokens are less than data.window"
            raise ValueError(f"{few}; give a multiple of {self.data.window}, or 0 for all")

    @name.validator
    def _is_a_name(self, field: attrs.Attribute[Any], value: str) -> None:
        if not NAME.fullmatch(value):
            allowed = "a letter or digit, then letters, digits, '.', '_' and '-', 100 at most"
            raise ValueError(f"{value[:60]!r} is no name; allowed: {allowed}")


def parts(spec: Spec) -> Iterator[tuple[str, Part]]:
    """Every component of a spec by its key, `model.mixer`; those in an array by key and index."""
    for kind in KINDS.values():
        section, field = kind.key.split(".")
        yield from keyed(kind.key, getattr(getattr(spec, section), field))


def keyed(key: str, chosen: Layered) -> list[tuple[str, Part]]:
    """What is chosen at a key, by `key` itself; in an array, by key and index."""
    if isinstance(chosen, Part):
        return [(key, chosen)]
    return [(f"{key}[{i}]", part) for i, part in enumerate(chosen)]


def by_layer(key: str, chosen: Layered, depth: int) -> list[tuple[str, Part]]:
    """What each layer has, as `keyed`: a pattern begins again until `depth` is filled."""
    once = (pair for pair in keyed(key, chosen) for _ in range(pair[1].layers or 1))
    return list(islice(cycle(once), depth))


def period(model: Model) -> int:
    """After how many layers mixers and channel mixers begin again."""
    patterns = (keyed("", chosen) for chosen in (model.mixer, model.channel))
    return math.lcm(*(sum(part.layers or 1 for _, part in pattern) for pattern in patterns))
