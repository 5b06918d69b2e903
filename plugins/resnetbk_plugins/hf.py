"""The classes by which `transformers` opens an exported model: importing this module registers them.

import resnetbk_plugins.hf
model = AutoModelForCausalLM.from_pretrained(DIR)   # what `resnetbk export RUN --to hf DIR` wrote
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import ModelOutput

from resnetbk import toml_write
from resnetbk.model.assemble import assemble
from resnetbk.model.passes import StreamState
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk.training.sampling import streams


class ResnetBKConfig(PretrainedConfig):
    """`spec` is that of the run, without what it was trained on and how; every component that it names must
    be installed."""

    model_type = "resnetbk"

    def __init__(self, spec: dict[str, Any] | None = None, vocab_size: int = 256, **given: Any) -> None:
        self.spec = spec or {}
        self.vocab_size = vocab_size
        self.hidden_size = self.spec.get("model", {}).get("width")
        self.num_hidden_layers = self.spec.get("model", {}).get("depth")
        given["tie_word_embeddings"] = False  # a tied head has no weight of its own
        super().__init__(**given)


@dataclass
class ResnetBKOutput(ModelOutput):
    """loss: mean cross-entropy of `labels`, shifted; logits (B, N, V); state: what it carries on."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: StreamState | None = None


class ResnetBKForCausalLM(PreTrainedModel, GenerationMixin):
    """`model` is a `resnetbk.model.language_model.LanguageModel`. Where it streams, its state is the cache of
    `generate`; another one reads its last `window` tokens again for each new one."""

    config_class = ResnetBKConfig
    main_input_name = "input_ids"
    _is_stateful = True  # the state cannot be cut back, as assisted generation would

    def __init__(self, config: ResnetBKConfig) -> None:
        super().__init__(config)
        data = {"corpus": "python-docs", **config.spec["data"]}  # a spec has one; nothing is read from it
        tree = {**config.spec, "data": data, "train": {"steps": 1}}
        spec = read_text(toml_write.dumps(tree, headers=2), Registry.discover(), "config.json")
        # transformers builds on `meta`, where what components compute when they are built would be lost
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            self.model = assemble(spec.model, vocabulary=config.vocab_size, seed=spec.seed)
        self.streams = streams(self.model)
        self.window = spec.data.window
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Components have set their own."""

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embedding  # type: ignore[return-value]

    def get_output_embeddings(self) -> nn.Module | None:
        return self.model.head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        state: StreamState | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        return_dict: bool | None = None,
        **unused: Any,
    ) -> Any:
        """(B, N) -> logits (B, N, V), or of the last `logits_to_keep` tokens; with `use_cache`, token by
        token. Raises ValueError for padding at the left, which the model would read."""
        if attention_mask is not None and not bool(attention_mask[:, 0].all()):
            raise ValueError("no padding at the left: the model would read it; batch texts of equal length")
        if self.streams and (use_cache or state is not None):
            state = self.model.initial_state(len(input_ids)) if state is None else state
            steps: list[Tensor] = []
            for token in input_ids.unbind(1):
                row, state = self.model.step(token, state)
                steps = [*steps, row][-logits_to_keep:]
            logits = torch.stack(steps, dim=1)
        else:
            logits = self.model(input_ids).logits[:, -logits_to_keep:]
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size)
        output = ResnetBKOutput(loss, logits, state)
        return output.to_tuple() if return_dict is False else output

    # ---- what `generate` asks for

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        state: StreamState | None = None,
        use_cache: bool | None = None,
        **unused: Any,
    ) -> dict[str, Any]:
        last = {"use_cache": use_cache, "logits_to_keep": 1}
        if state is not None:
            return {"input_ids": input_ids[:, -1:], "state": state} | last
        first = 0 if self.streams else -self.window
        mask = None if attention_mask is None else attention_mask[:, first:]
        return {"input_ids": input_ids[:, first:], "attention_mask": mask} | last

    def _update_model_kwargs_for_generation(
        self, outputs: ModelOutput, model_kwargs: dict[str, Any], **given: Any
    ) -> dict[str, Any]:
        after: dict[str, Any] = super()._update_model_kwargs_for_generation(outputs, model_kwargs, **given)
        return after | ({"state": outputs["state"]} if "state" in outputs else {})

    @staticmethod
    def _reorder_cache(state: StreamState, beam_idx: Tensor) -> StreamState:
        """Of beam search: the states of the beams that go on."""
        chosen: StreamState = tree_map(lambda tensor: tensor.index_select(0, beam_idx), state)
        return chosen


AutoConfig.register(ResnetBKConfig.model_type, ResnetBKConfig)
AutoModelForCausalLM.register(ResnetBKConfig, ResnetBKForCausalLM)
