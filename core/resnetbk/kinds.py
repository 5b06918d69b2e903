"""The interfaces: what each kind of component decides, and what it is given.

A *component* is one frozen attrs class; its fields are the keys of its table in a spec, and its
`build(...)` returns the working object described here. There is nothing to inherit from. It may have
`check(spec)`, which raises ValueError for what only the whole spec shows to be wrong.

Shapes: B batch, N tokens, M rows present at one scale, R rows computed, D model dimension, V vocabulary.
Policies decide; the trunk (`resnetbk.model.trunk`) executes. Nothing here runs a layer.
What a forward pass makes is neither frozen (torch.compile cannot trace that) nor ever changed.

A module of a model may have `anneal(progress)`, which is called before each training step with the share of
the run that is done, in [0, 1). What it stores of that has to be a pure function of it, or a buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import attrs

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from resnetbk.task import Task

    Array = np.ndarray[Any, Any]
    AnyTensor = TypeVar("AnyTensor", bound=Tensor)

State = dict[str, "Tensor"]
"""What a streaming component carries from one token to the next: tensors that lead with B."""

Penalties = Mapping[str, "Tensor"]
"""Named scalars, already weighted, that are added to the cross-entropy and logged apart from it."""
NO_PENALTIES: Penalties = {}  # nobody writes to it; a MappingProxyType is not compiled by torch 2.10

ParentCosts = dict[str, dict[str, float]]
"""Seconds, cpu_seconds, flops and tokens that trained each parent run, by the real path of its folder."""


@attrs.frozen
class Kind:
    """A kind of component: its name in manifests, the spec key that chooses it, and what it decides.

    innovation  whether it is one of the six kinds that make models cheaper
    api         version of the interface below; a plugin with a component for another version is left out
    """

    name: str
    key: str
    innovation: bool
    summary: str
    api: int = 1


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("sequence-mixer", "model.mixer", True, "how rows exchange information"),
        Kind("halting-policy", "model.halting", True, "which rows go on after each layer"),
        Kind("resolution-scheduler", "model.resolution", True, "at which scale each layer works"),
        Kind("sparsity-gate", "model.gate", True, "which rows a layer computes"),
        Kind("data-selector", "data.selector", True, "which windows come next"),
        Kind("gradient-strategy", "train.gradient", True, "how a step's gradients are computed"),
        Kind("embedding", "model.embedding", False, "tokens to rows"),
        Kind("channel-mixer", "model.channel", False, "what happens within a row"),
        Kind("corpus", "data.corpus", False, "the text and its held-out part"),
        Kind("tokenizer", "data.tokenizer", False, "text to tokens and back"),
        Kind("optimizer", "train.optimizer", False, "the update and its schedule"),
        Kind("initializer", "train.start", False, "the weights a run starts from"),
        Kind("observer", "train.observe", False, "who receives the events of a run"),
    )
}


# ---------------------------------------------------------------- rows and scales


@attrs.define(eq=False)
class Rows:
    """The rows present at one scale.

    x         (B, M, D)
    position  (B, M) int64: index of the last token each row may depend on; rises along M
    length    (B,) int64: how many of the M rows of each sequence are real (they come first), or
              None when all are
    """

    x: Tensor
    position: Tensor
    length: Tensor | None = None


@attrs.frozen
class Stack:
    """Consecutive layers at one scale. Level 0 is one row a token; each level above is coarser."""

    level: int
    layers: tuple[int, ...]


# ---------------------------------------------------------------- the model's components


class SequenceMixer(Protocol):
    """How rows exchange information. `build(*, width, depth)`, one for each layer; an nn.Module. A `build`
    that takes `layer` too is given the layer's index, from 0.

    Causal: row i of the result depends on rows <= i alone, bit for bit. Rows are packed at the left
    (see `Rows.length`); padding rows of the result are never read. A mixer whose `reads_all` is true is given
    two more: all `Rows`, (B, N, D), normed, also those not computed; and a dict, its own for the whole pass.
    """

    def __call__(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        """(B, M, D), (B, M), (B,) or None -> (B, M, D): what is added to the residual stream."""


class StreamingMixer(SequenceMixer, Protocol):
    """A sequence mixer that provides `streaming`."""

    def initial_state(self, batch: int) -> State:
        """The state before the first row."""

    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """One row of each sequence, (B, D) at (B,): the numbers that `__call__` gives at that row. Dimension
        1 of a state tensor may grow (an attention cache); all else keeps its shape."""


class ChannelMixer(Protocol):
    """What happens within a row. `build(*, width, depth) -> nn.Module`, or with `layer`, as of a mixer."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Penalties]:
        """(R, D) -> (R, D), and penalties. Each row depends on itself alone."""


class Embedding(Protocol):
    """Tokens to rows. `build(*, vocabulary, width) -> nn.Module`."""

    @property
    def weight(self) -> Tensor:
        """(V, D): the table that a tied head shares."""

    def __call__(self, tokens: Tensor, position: Tensor) -> Tensor:
        """(B, N) int64, (B, N) -> (B, N, D); row i depends on tokens <= i alone."""

    def initial_state(self, batch: int) -> State: ...

    def step(self, tokens: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """(B,), (B,) -> (B, D)."""


class HaltingPolicy(Protocol):
    """Which rows go on after each layer. `build(*, width, stacks) -> nn.Module`. It handles one stack at a
    time: the trunk calls `begin` when rows enter it, `observe` after each of its layers, then `finish`."""

    def begin(self, stack: int, rows: Rows) -> Halting: ...


class Halting(Protocol):
    """One pass of a halting policy over one stack."""

    @property
    def running(self) -> Tensor | None:
        """(B, M) bool, the rows that the next layer may compute; None when all of them are."""

    def observe(self, layer: int, x: Tensor) -> None:
        """Sees all rows (B, M, D) after `layer`, halted ones unchanged, and updates `running`."""

    def finish(self) -> Finished: ...


@attrs.define(eq=False)
class Exit:
    """Rows as they were after some layer, for policies that have to learn what each depth would predict.

    x           (B, N, D), rows that the head can read
    weight      (B, N) or a number: of the cross-entropy of its prediction in the loss
    confidence  (B, N) or None: a logit for "the likeliest token here is the one that the last exit gives",
                trained on whether it was, as penalty `agreement`
    """

    x: Tensor
    weight: Tensor | float = 1.0
    confidence: Tensor | None = None


@attrs.define(eq=False)
class Finished:
    """What leaves a stack: rows (B, M, D), penalties, and exits, shallow ones first. With exits, which only
    the last stack may give, the loss is the weighted sum of theirs, not that of `x`."""

    x: Tensor
    penalties: Penalties = NO_PENALTIES
    exits: tuple[Exit, ...] = ()


class ResolutionScheduler(Protocol):
    """At which scale each layer works. `build(*, width, depth) -> nn.Module`.

    Levels change by one between neighbouring stacks at most; the first and last stack are at level 0.
    The trunk keeps the finer rows while a coarser stack works, so `up` can add them back.
    """

    stacks: tuple[Stack, ...]

    def down(self, level: int, rows: Rows, tokens: Tensor) -> Rows:
        """Rows at `level - 1` and all tokens (B, N) -> rows at `level`, fewer of them. A coarse row at
        position p depends on fine rows at positions <= p alone."""

    def up(self, level: int, fine: Rows, coarse: Rows) -> Rows:
        """Back from `level` to `level - 1`: a fine row at p reads the last coarse row at a position <= p."""

    def initial_state(self, batch: int) -> State: ...

    def down_step(self, level: int, row: Rows, token: Tensor, state: State) -> tuple[Rows, Tensor, State]:
        """One fine row of each sequence (M = 1) -> the coarse row it would begin, whether it does (B,) bool,
        state."""


@attrs.define(eq=False)
class Keep:
    """A gate's decision: mask (B, M) bool or None for all rows; weight (B, M) or None scales what a
    computed layer adds to a row (a straight-through estimator puts its gradient there)."""

    mask: Tensor | None = None
    weight: Tensor | None = None
    penalties: Penalties = NO_PENALTIES


class SparsityGate(Protocol):
    """Which rows a layer computes. `build(*, width, depth) -> nn.Module`."""

    scope: str
    """What is left out for the other rows: the whole `layer`, or its `mixer` or `channel` mixer alone."""

    def keep(self, layer: int, rows: Rows) -> Keep:
        """Decides for each row from rows at positions <= its own."""

    def fill(self, layer: int, before: Tensor, after: Tensor, keep: Keep) -> Tensor:
        """(B, M, D): `after` holds the computed rows and, elsewhere, `before`; gives the rows that go on.

        `keep.mask` is what was really computed: of the rows that the gate keeps, those that have not halted.
        What it returns for rows that have halted is not used.
        """

    def initial_state(self, batch: int) -> State: ...

    def fill_step(
        self, layer: int, before: Tensor, after: Tensor, keep: Keep, state: State
    ) -> tuple[Tensor, State]:
        """`fill` for one row of each sequence, (B, 1, D), with carried state."""


# ---------------------------------------------------------------- data


@attrs.frozen(eq=False)
class Text:
    """A corpus as UTF-8: what to learn from, and what is held out. `build() -> Text` of a corpus.
    Large texts are read-only views of files on disk (`resnetbk.texts`), to be read in pieces."""

    train: bytes | memoryview
    valid: bytes | memoryview
    sha256: str
    """Of train followed by valid, in hexadecimal."""
    task: Task | None = None
    """Labels, where something else is to be learned than what comes next."""
    tokens: tuple[Array, Array] | None = None
    """Train and valid as tokens, unsigned (T,), of a corpus that has no text: sha256 is of these."""
    parts: Mapping[str, int] = attrs.field(factory=dict)
    """If it is of several corpora: their names, and where the held-out text of each ends, in bytes."""
    stretches: Array | None = None
    """(S, 2) then: where each stretch of the training text ends, in bytes, and the number of its part."""


class Tokenizer(Protocol):
    """Text to tokens and back. `build(*, text: Text)`, or `restore(*, state)` from a checkpoint."""

    vocabulary: int

    def encode(self, text: bytes | memoryview) -> Array:
        """UTF-8 as tokens, (T,) of the smallest unsigned integer type that holds the vocabulary.

        Large texts come in pieces, cut at line breaks; or uncopied, as one view, if it provides `byte-level`.
        """

    def decode(self, tokens: Sequence[int]) -> bytes:
        """The bytes of the tokens, joined. A token's bytes do not depend on its neighbours, since models
        generate token by token; they may be a part of a character."""

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as JSON values."""


@attrs.frozen(eq=False)
class Windows:
    """What to train on next: starts (B,) int64 into the training tokens, and tokens in each window. B is the
    batch of the spec, or more where windows are shorter than its own.

    A window at s covers inputs [s, s + length) and targets one later; 0 <= s <= T - length - 1. In a task it
    stands for an example, the one that it begins in where length is the example's, or for its beginning."""

    starts: Array
    length: int


class Score(Protocol):
    """A forward pass over windows in eval mode, without dropout, which the meter charges to the run."""

    def __call__(self, windows: Windows, measure: str = "loss") -> Array:
        """(batch,) means over windows: "loss" or "entropy" of predictions, nats/token; "margin" of the most
        likely token's probability over the next one's; "accuracy", NaN where a window has no label."""


@attrs.frozen(eq=False)
class SelectionContext:
    """What a data selector knows when it chooses: the step from 0, the share of the run that is done in
    [0, 1), and `score`, which evaluates the present model."""

    step: int
    progress: float
    score: Score


class DataSelector(Protocol):
    """Which windows come next. `build(*, tokens, window, batch, seed)`, tokens (T,) as encoded.

    If it takes `groups` too: (T,) integers, the group (a skill, a part) of the window at each token, or None.
    The choice is a pure function of seed, step and `state()`, which is always {} if it is at first.
    """

    def select(self, context: SelectionContext) -> Windows: ...

    def observe(self, context: SelectionContext, windows: Windows, losses: Array) -> None:
        """The mean loss of each window (batch,) as it was trained on; some steps late if `state()` is {}."""

    def state(self) -> dict[str, Array]: ...

    def restore(self, state: dict[str, Array]) -> None: ...


# ---------------------------------------------------------------- training


@attrs.frozen(eq=False)
class Batch:
    """inputs and targets, (B, N) int64; targets below 0, as in tasks, do not count. If it is `labelled`, rows
    without one that counts are left out where no other row depends on them."""

    inputs: Tensor
    targets: Tensor
    labelled: bool = False


@attrs.define(eq=False)
class BatchLoss:
    """The losses of a batch.

    loss           cross-entropy plus penalties, a scalar to differentiate
    cross_entropy  mean over windows of their mean over tokens that count, in nats, detached
    window_losses  (B,) mean over each window, detached
    penalties      detached
    """

    loss: Tensor
    cross_entropy: Tensor
    window_losses: Tensor
    penalties: Penalties


class GradientStrategy(Protocol):
    """How a step's gradients are computed. `build(*, weights: Sequence[Weight])`, in order. With an attribute
    `loops`, only so many of the last loops of shared layers are differentiated."""

    def gradients(self, step: int, batch: Batch, objective: Callable[[Batch], BatchLoss]) -> BatchLoss:
        """Leaves this step's gradient in `.grad` of every parameter; never updates one.

        A parameter left with None is not updated in this step. The result is that of the whole batch,
        whatever was differentiated, from forward passes through `objective`, by which they are metered.
        """

    def state(self) -> dict[str, Any]:
        """Nested dicts and lists of tensors, arrays and JSON values."""

    def restore(self, state: dict[str, Any]) -> None: ...


Role = Literal["matrix", "vector", "table", "convolution", "scalar"]
"""What a weight is, declared by its component through `with_role`; nothing is guessed from its shape.

    matrix       maps one space to another: a Linear's weight
    vector       a number or more for each channel, head or chain: gains, biases, rates
    table        a row for each token, n-gram or position: embeddings and the head
    convolution  taps along the sequence
    scalar       one number

torch's own modules need not declare it (Linear, Embedding, EmbeddingBag, Conv). A weight without a role is a
vector. Optimizers go by roles: weight decay is for matrices and tables, orthogonal updates for matrices.
"""


def with_role(parameter: AnyTensor, role: Role) -> AnyTensor:
    """Marks a parameter with its role, and returns it."""
    parameter.role = role  # type: ignore[attr-defined]
    return parameter


@attrs.frozen(eq=False)
class Weight:
    """A trainable parameter and its role. Its learning rate is `rate` times what it would be."""

    name: str
    parameter: nn.Parameter
    role: Role
    rate: float = 1.0


class Optimizer(Protocol):
    """The update and its schedule. `build(*, weights: Sequence[Weight])`. It may have `found_inf`, None until
    it is set to a scalar on the device: where that is not zero, `update` changes nothing, to the bit.

    It may have `eval()` and `train()`: the first sets the weights to the averages that are evaluated, saved
    and generated with, the second back to those that are trained, to the bit. A state of in between, loaded
    when the weights are the averages, makes them those that are trained.
    """

    def update(self, step: int, progress: float) -> float:
        """Sets the learning rate for this step, applies and clears the gradients; returns the rate used."""

    def state_dict(self) -> dict[str, Any]:
        """Nested dicts and lists of tensors and JSON values."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Initializer(Protocol):
    """The weights a run starts from. `build()`.

    It may have `parents: ParentCosts`, known once it has initialized: the cost of the runs that it starts
    from, reported beside the run's own. So may a data selector, of runs that it is guided by.
    """

    def initialize(self, model: nn.Module, tokenizer: Tokenizer, depth: int) -> list[str]:
        """Sets weights in place under torch's seeded generator; returns lines that say what it did.

        A parameter with requires_grad False is not trained; one with an attribute `rate` learns at that
        many times its learning rate (see `Weight`).
        """


Observer = object
"""Who receives events: `build(*, folder: Path, spec: Spec)` gives one with hooks of `resnetbk.hooks`."""
