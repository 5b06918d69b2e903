"""Copies weights of Hugging Face's GPT-2 and Llama into a model, under our names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from resnetbk.errors import StorageError, UserError, shortened
from resnetbk.files import accessing, read_file

WEIGHTS, INDEX, PICKLE = "model.safetensors", "model.safetensors.index.json", "pytorch_model*.bin"
NAMES = {
    "gpt2": {
        "wte": "embedding.table",
        "wpe": "embedding.places",
        "ln_f": "norm",
        "lm_head": "head",
        "ln_1": "mixer_norm",
        "attn.c_proj": "mixer.output",
        "ln_2": "channel_norm",
        "mlp.c_fc": "channel.expand",
        "mlp.c_proj": "channel.output",
    },
    "llama": {
        "embed_tokens": "embedding.table",
        "norm": "norm",
        "lm_head": "head",
        "input_layernorm": "mixer_norm",
        "self_attn.q_proj": "mixer.query",
        "self_attn.k_proj": "mixer.key",
        "self_attn.v_proj": "mixer.value",
        "self_attn.o_proj": "mixer.output",
        "post_attention_layernorm": "channel_norm",
        "mlp.gate_proj": "channel.gate",
        "mlp.up_proj": "channel.expand",
        "mlp.down_proj": "channel.output",
    },
}
_LAYER = re.compile(r"(?:h|layers)\.(\d+)\.(.*)")
_CONSTANT = re.compile(r"h\.\d+\.attn\.(?:masked_)?bias|.*rotary_emb\.inv_freq")


def load(model: nn.Module, folder: Path, kind: str) -> list[str]:
    """Returns lines that say what was done. Raises StorageError for files that are missing, damaged or not
    what config.json says, UserError for pickles; then with nothing copied."""
    own: dict[str, Tensor] = model.state_dict()
    theirs: dict[str, Tensor] = {}
    for name, tensor in _read(folder).items():
        theirs.update(_renamed(kind, name, tensor))
    if "head.weight" not in own:
        theirs.pop("head.weight", None)  # a tied head, stored twice
    missing = [name for name in own if _is_theirs(name) and name not in theirs]
    for name, tensor in theirs.items():
        if name not in own or own[name].shape != tensor.shape:
            here = tuple(own[name].shape) if name in own else "nothing"
            raise StorageError(f"train.start: {folder}: {name} is {tuple(tensor.shape)}, here {here}")
        if not torch.isfinite(tensor).all():
            raise StorageError(f"train.start: {folder}: {name} is not finite")
    if missing:
        raise StorageError(f"train.start: {folder}: has no weights for {', '.join(missing[:4])}")
    with torch.no_grad():
        for name, tensor in theirs.items():
            own[name].copy_(tensor)
    fresh = [name for name in own if name not in theirs]
    lines = [
        f"loaded {len(theirs)} of {len(own)} tensors from {folder}; what they cost to train is not known"
    ]
    return lines + ([f"starts fresh: {', '.join(fresh[:4])}, {len(fresh)} tensors in all"] if fresh else [])


def _is_theirs(name: str) -> bool:
    """Whether a weight of ours is one that the file must have; policies start fresh."""
    return not name.startswith(("trunk.halting.", "trunk.resolution.", "trunk.gate."))


def _renamed(kind: str, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Ours of one of theirs."""
    name = name.removeprefix("transformer.").removeprefix("model.")
    if _CONSTANT.fullmatch(name):
        return
    layer = _LAYER.fullmatch(name)
    module, _, leaf = (layer[2] if layer else name).rpartition(".")
    prefix = f"trunk.layers.{layer[1]}." if layer else ""
    if kind == "gpt2" and layer and tensor.dim() == 2:
        tensor = tensor.T  # Conv1D has (in, out)
    if module == "attn.c_attn":
        for part, chunk in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            yield f"{prefix}mixer.{part}.{leaf}", chunk
    else:
        yield f"{prefix}{NAMES[kind].get(module, module)}.{leaf}", tensor


def _read(folder: Path) -> dict[str, Tensor]:
    names = [WEIGHTS]
    with accessing(folder, "read"):
        if (folder / INDEX).is_file():
            names = sorted({Path(name).name for name in _index(folder / INDEX).values()})
        elif not (folder / WEIGHTS).is_file() and any(folder.glob(PICKLE)):
            raise UserError(
                f"train.start: {folder}: has pickled weights alone (.bin), which can run code and are not "
                "read; save them with transformers' save_pretrained, which writes safetensors"
            )
        try:
            return {name: tensor for file in names for name, tensor in load_file(folder / file).items()}
        except SafetensorError as error:
            raise StorageError(f"train.start: {folder}: damaged ({shortened(str(error))})") from error


def _index(path: Path) -> dict[str, Any]:
    try:
        files: dict[str, Any] = json.loads(read_file(path))["weight_map"]
        return files
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path}: damaged ({shortened(str(error))})") from error
