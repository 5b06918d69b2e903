"""A trained run: its model, ready to be evaluated and to write."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from resnetbk.errors import StorageError, UserError
from resnetbk.hooks import RunReport
from resnetbk.kinds import Tokenizer
from resnetbk.lock.drift import drift
from resnetbk.lock.lock import facts, load_lock
from resnetbk.model.assemble import assemble
from resnetbk.model.language_model import LanguageModel
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint, spec_lock
from resnetbk.runs.checkpoint import Checkpoint, load_weights
from resnetbk.runs.run_folder import RunFolder
from resnetbk.spec.spec import Spec
from resnetbk.training import notebook
from resnetbk.training.data import Data, document_tokens
from resnetbk.training.device import find_device
from resnetbk.training.memory import largest_files
from resnetbk.training.objective import Evaluation, evaluate, text_losses
from resnetbk.training.run_state import RunState
from resnetbk.training.sampling import Sampling, generate

if TYPE_CHECKING:
    from resnetbk.kinds import Array

TRAINED = ("model.", "data.tokenizer")
"""Spec keys of the components that a trained model consists of."""


@attrs.frozen(eq=False)
class Run:
    """What a run folder holds.

    folder     where it is
    spec       with all its defaults: `run.spec.model.width`
    model      a torch module on the device of the training, or on the one it was opened on
    tokenizer  see `kinds.Tokenizer`, which takes bytes; `run.encode` takes a str as well
    report     when the run was trained just now
    cost       when it was opened: see `RunState.training_cost`
    """

    folder: RunFolder
    spec: Spec = attrs.field(repr=False)
    registry: Registry = attrs.field(repr=False)
    model: LanguageModel = attrs.field(repr=False)
    tokenizer: Tokenizer = attrs.field(repr=False)
    report: RunReport | None = None
    _data: Data | None = attrs.field(default=None, repr=False)
    cost: Mapping[str, float] = attrs.field(factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path | str, registry: Registry, sets: Sequence[str] = (), device: str = "cpu") -> Run:
        """The run in a folder, at its latest good checkpoint, with `sets` (`key=value`) laid over its spec.

        Logs which components are not what the run was trained with. Raises UserError when it is no run or a
        component is missing, StorageError when it is damaged.
        """
        folder = RunFolder.open(Path(path))
        spec = spec_lock.read(folder, registry, sets)
        _tell_drift(folder, spec, registry)
        saved = _latest(folder, spec)
        state = RunState.of(saved, folder.path)
        tokenizer = spec.data.tokenizer.component.restore(state=state.tokenizer)
        model = assemble(spec.model, vocabulary=tokenizer.vocabulary, seed=spec.seed)
        model.begins = document_tokens(spec.data, tokenizer)
        load_weights(model, saved.model, folder.path)
        model.to(find_device(device)).eval()
        return cls(folder, spec, registry, model, tokenizer, cost=state.training_cost())

    def data(self) -> Data:
        """The spec's corpus in this run's tokens."""
        return self._data or Data.load(self.spec.data, self.tokenizer)

    def evaluate(self, data: Data | None = None) -> Evaluation:
        """The loss on the held-out part of the spec's corpus, or of `data`."""
        return evaluate(
            self.model, data or self.data(), window=self.spec.data.window, precision=self.spec.train.precision
        )

    def metrics(self) -> Any:
        """The lines of metrics.jsonl: a pandas DataFrame where pandas is installed, else a list of dicts."""
        return notebook.frame(self.folder.metrics())

    def _repr_html_(self) -> str:
        about = {"folder": str(self.folder.path), "corpus": self.spec.data.corpus.name}
        about["parameters"] = f"{self.model.parameter_count():,}"
        return notebook.table(self.spec.name, about, self.folder.metrics())

    def encode(self, text: str | bytes) -> Array:
        """The tokens of a text, (T,) int64, which `torch.from_numpy` takes; `run.tokenizer.decode` is the way
        back. Raises UserError for a text that the tokenizer has no tokens for."""
        if isinstance(text, str):
            try:
                text = text.encode(errors="surrogateescape")
            except UnicodeEncodeError as error:
                half = f"{ord(error.object[error.start]):#06x}"
                raise UserError(
                    f"the text holds half of a character ({half}) at place {error.start}"
                ) from None
        return self.tokenizer.encode(text).astype(np.int64)

    def losses(self, text: str | bytes) -> Array:
        """What each token of a text costs, but the first: (T - 1,) float32, in nats, for T tokens.

        The windows are those of `evaluate`: with W = `spec.data.window`, number i is the loss of token i + 1,
        predicted from tokens i - i % W to i: the first of each window has one token of context, the last W.
        Raises UserError for a text that the tokenizer has no tokens for, or with fewer than two.
        """
        tokens = self.encode(text)
        if len(tokens) < 2:
            raise UserError("the text has fewer than two tokens; there is no loss before the second")
        data, precision = self.spec.data, self.spec.train.precision
        return text_losses(self.model, tokens, window=data.window, precision=precision)

    def generate(
        self,
        prompt: str | bytes,
        tokens: int = 200,
        *,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[bytes]:
        """The bytes of each new token after `prompt`, which must hold at least one token; the keywords are
        those of `resnetbk.training.sampling.Sampling`. `samples` gives several texts at once.

        Raises UserError for a prompt, a temperature and so on that cannot be; NumericError when the model
        fails.
        """
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        new = generate(self.model, self._known(prompt), tokens, sampling, window=self.spec.data.window)
        return (self.tokenizer.decode(chosen) for chosen in new)

    def samples(self, prompt: str | bytes, count: int, tokens: int = 200, **sampling: Any) -> list[bytes]:
        """So many texts after `prompt`, generated as one batch; the keywords are those of `generate`, which
        it raises as."""
        how, window = Sampling(**sampling), self.spec.data.window
        new = generate(self.model, self._known(prompt), tokens, how, window=window, samples=count)
        return [self.tokenizer.decode(text) for text in zip(*new, strict=True)] or [b""] * count

    def _known(self, prompt: str | bytes) -> list[int]:
        known: list[int] = self.encode(prompt).tolist()
        if not known:
            raise UserError("the prompt is empty; a model needs a first token to go on from")
        return known


def _tell_drift(folder: RunFolder, spec: Spec, registry: Registry) -> None:
    """One warning of all components, of those that a trained model consists of, that are others by now."""
    drifts = drift(load_lock(folder.spec_lock), facts(spec, registry))
    changed = [str(d) for d in drifts if d.about in ("component", "source") and d.key.startswith(TRAINED)]
    if changed:
        message = "%s: was trained with other components than are here, and may answer otherwise: %s"
        logging.getLogger("resnetbk").warning(message, folder.path, ", ".join(changed))


def _latest(folder: RunFolder, spec: Spec) -> Checkpoint:
    """The latest checkpoint; a run that trains at this moment may drop one while it is read."""
    path = checkpoint.latest(folder.path)
    while True:
        try:
            return checkpoint.load(path, with_optimizer=False, largest=largest_files(spec))
        except StorageError:
            newer = checkpoint.latest(folder.path)
            if newer == path:
                raise
            path = newer
