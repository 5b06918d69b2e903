"""A trained run: its model, ready to be evaluated and to write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from resnetbk.errors import StorageError, UserError
from resnetbk.hooks import RunReport
from resnetbk.kinds import Tokenizer
from resnetbk.model.assemble import assemble
from resnetbk.model.generate import generate
from resnetbk.model.language_model import LanguageModel
from resnetbk.registry.lookup import Registry
from resnetbk.spec.lock import read_lock
from resnetbk.spec.spec import Spec
from resnetbk.training import checkpoint
from resnetbk.training.data import Data
from resnetbk.training.objective import Evaluation, evaluate
from resnetbk.training.run_folder import RunFolder


@attrs.frozen(eq=False)
class Run:
    """What a run folder holds. `report` is there when the run was trained just now."""

    folder: RunFolder
    spec: Spec
    registry: Registry
    model: LanguageModel
    tokenizer: Tokenizer
    report: RunReport | None = None

    @classmethod
    def open(cls, path: Path | str, registry: Registry, sets: Sequence[str] = ()) -> Run:
        """The run in a folder, at its latest good checkpoint, with `sets` (`key=value`) laid over its spec.

        Raises UserError when it is no run or a component is missing, StorageError when it is damaged.
        """
        folder = RunFolder.open(Path(path))
        spec = read_lock(folder.spec_lock, registry, sets)
        saved = checkpoint.load(folder.latest(), with_optimizer=False)
        tokenizer = spec.data.tokenizer.component.restore(state=saved.state["tokenizer"])
        model = assemble(spec.model, vocabulary=tokenizer.vocabulary, seed=spec.seed)
        _load_weights(model, saved.model, folder.path)
        model.eval()
        return cls(folder, spec, registry, model, tokenizer)

    def data(self) -> Data:
        """The spec's corpus in this run's tokens."""
        return Data.load(self.spec.data, self.tokenizer)

    def evaluate(self, data: Data | None = None) -> Evaluation:
        """The loss on the held-out part of the spec's corpus."""
        return evaluate(
            self.model,
            data or self.data(),
            window=self.spec.data.window,
            precision=self.spec.train.precision,
        )

    def generate(
        self, prompt: str, tokens: int = 200, *, temperature: float = 0.8, seed: int = 0
    ) -> Iterator[bytes]:
        """Yields the bytes of each new token after `prompt`, which must hold at least one token."""
        known = self.tokenizer.encode(prompt.encode()).tolist()
        if not known:
            raise UserError("the prompt is empty; a model needs a first token to go on from")
        window = self.spec.data.window
        for token in generate(self.model, known, tokens, window=window, temperature=temperature, seed=seed):
            yield self.tokenizer.decode([token])


def _load_weights(model: LanguageModel, weights: dict[str, Any], path: Path) -> None:
    own = model.state_dict()
    wrong = sorted(set(own) ^ set(weights))
    wrong += [name for name in set(own) & set(weights) if own[name].shape != weights[name].shape]
    if wrong:
        raise StorageError(f"{path}: the checkpoint does not fit its spec: {wrong[0]!r} differs")
    with torch.no_grad():
        model.load_state_dict(weights)
