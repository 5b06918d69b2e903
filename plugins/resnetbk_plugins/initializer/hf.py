"""Start from weights in the format of Hugging Face."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from resnetbk.errors import StorageError, UserError
from resnetbk_plugins.initializer.hf_config import CONFIG, misfits, model_table, read_config

if TYPE_CHECKING:
    from torch import nn

    from resnetbk.kinds import Initializer, Tokenizer
    from resnetbk.spec import Spec


def _not_empty(component: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value:
        raise ValueError(f"{attribute.name} must be the folder of a model, such as models/gpt2")


@attrs.frozen(kw_only=True)
class HuggingFace:
    """The weights of GPT-2 or Llama from a local folder with `config.json` and `model.safetensors`.

    The spec's model must be the one of the folder: `check` says what differs, and what to write. Policies
    that skip work are free: what they learn starts fresh. So are dropout, and the tokenizer as long as it has
    as many tokens. What the weights cost to train is not known and is charged to nobody.

    path   the folder, relative to the working directory; `~` is your home
    """

    path: str = attrs.field(validator=_not_empty)

    def check(self, spec: Spec) -> None:
        folder = Path(self.path).expanduser()
        # a trained run is opened by its spec as well, and needs the folder no more
        if (folder / CONFIG).is_file():
            try:
                mistakes = list(misfits(spec.model, model_table(read_config(folder))))
            except StorageError as error:
                raise UserError(str(error)) from None
            if mistakes:
                raise UserError(*mistakes)

    def build(self) -> Initializer:
        return HuggingFaceInitializer(Path(self.path).expanduser())


class HuggingFaceInitializer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def initialize(self, model: nn.Module, tokenizer: Tokenizer, depth: int) -> list[str]:
        """Raises StorageError for a folder that is missing or damaged; UserError for one that does not fit.
        Then no weight is changed."""
        from resnetbk_plugins.initializer.hf_weights import load

        config = read_config(self.folder)
        if config["vocab_size"] != tokenizer.vocabulary:
            raise UserError(
                f"train.start: the weights in {self.folder} have {config['vocab_size']} tokens, and "
                f"data.tokenizer has {tokenizer.vocabulary}; choose the tokenizer that they were trained with"
            )
        return load(model, self.folder, config["model_type"])
