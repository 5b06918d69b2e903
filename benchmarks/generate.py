"""Generation with carried state: python benchmarks/generate.py

Time per token and size of the state after a context of 100 and of 100 000 tokens, for a constant-size state
and for attention's cache, which is filled at random instead of reading the long context.
"""

from __future__ import annotations

from typing import Any

import torch
from paired import median, paired, ratio
from training_step import build

from resnetbk.model.language_model import LanguageModel

CONTEXTS = (100, 100_000)
TOKENS = 20


def state_after(model: LanguageModel, context: int) -> dict[str, Any]:
    """The state after at most 100 tokens; a cache is then filled at random up to `context` tokens."""
    state = model.initial_state(1)
    for _ in range(min(context, 100)):
        _, state = model.step(torch.randint(256, (1,)), state)
    for mixer in state["trunk"]["layers"]:
        if "key" in mixer:
            width = mixer["key"].shape[-1]
            mixer.update(key=torch.randn(1, context, width), value=torch.randn(1, context, width))
            mixer["length"] = torch.tensor([context])
    state["position"] = torch.tensor([context])
    return state


def size(state: Any) -> int:
    """Bytes of every tensor in a state."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    return sum(size(part) for part in (state.values() if isinstance(state, dict) else state))


@torch.inference_mode()
def main() -> None:
    for name in ("bk-causal", "bk-resolvent", "gated-linear", "attention"):
        model = build({"attention": '"attention"'}.get(name, f'"{name}"')).eval()
        states = {context: state_after(model, context) for context in CONTEXTS}

        def write(state: dict[str, Any], model: LanguageModel = model) -> None:
            for _ in range(TOKENS):
                _, state = model.step(torch.tensor([65]), state)

        runs = {str(context): (lambda state=state: write(state)) for context, state in states.items()}
        seconds = paired(runs, rounds=5)
        for context, state in states.items():
            microseconds = 1e6 * median(seconds[str(context)]) / TOKENS
            print(f"{name:14} after {context:7,}: {microseconds:9.0f} µs/token, {size(state):13,} bytes")
        print(f"{'':14} long / short {ratio(seconds[str(CONTEXTS[1])], seconds[str(CONTEXTS[0])])}")


if __name__ == "__main__":
    main()
