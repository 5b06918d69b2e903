"""Key names that people type out of habit from other trainers, and what a spec calls them."""

from __future__ import annotations

_OF_THE_OPTIMIZER = "a key of the optimizer: train.optimizer = { use = ..., %s = ... }"

HABITS = {
    "n_layer": "the number of layers is model.depth",
    "layers": "the number of layers is model.depth; in a pattern: mixer = [{ use = ..., layers = 3 }, ...]",
    "d_model": "the model dimension is model.width",
    "n_embd": "the model dimension is model.width",
    "n_head": "a key of the mixer that has heads: model.mixer = { use = ..., heads = ... }",
    "block_size": "the context length is data.window",
    "seq_len": "the context length is data.window",
    "lr": _OF_THE_OPTIMIZER % "lr",
    "learning_rate": _OF_THE_OPTIMIZER % "lr",
    "weight_decay": _OF_THE_OPTIMIZER % "weight_decay",
    "batch_size": "windows in a step are train.batch",
    "max_steps": "the number of updates is train.steps",
    "max_iters": "the number of updates is train.steps",
    "log_interval": "steps between readings of losses are train.log_every",
    "grad_accum": "a key of the gradient strategy: train.gradient = { use = ..., accumulate = ... }",
    "dtype": "the precision of matrix products is train.precision",
    "vocab_size": "the tokenizer decides it: data.tokenizer",
    "dropout": "a key of model.mixer, model.channel and model.embedding: { use = ..., dropout = ... }",
    "compile": "whether steps are compiled is train.compile",
}


def habit(key: str) -> str:
    """`; the number of layers is model.depth` for a habitual name, else nothing."""
    meant = HABITS.get(key.lower().replace("-", "_"))
    return f"; {meant}" if meant else ""
