"""Documents in a window are what they are alone, with every first-party component of a model."""

import pytest
import torch
from settings import SETTINGS

from resnetbk.kinds import KINDS
from resnetbk.registry.lookup import Registry
from resnetbk_authoring.testing.subject import VOCABULARY, Subject, text

REGISTRY = Registry.discover(allow=["resnetbk"])
RAGGED = [
    entry
    for entry in REGISTRY.entries()
    if KINDS[entry.kind].key.startswith("model.") and "ragged" in entry.provides
]


@pytest.mark.parametrize("entry", RAGGED, ids=lambda entry: f"{entry.kind}/{entry.name}")
def test_documents_are_what_they_are_alone(entry):
    settings = SETTINGS.get(f"{entry.kind}/{entry.name}", SETTINGS.get(entry.name))
    model, tokens = Subject.of(REGISTRY, entry, settings).model(), text(21, batch=3)
    begins = torch.zeros(VOCABULARY, dtype=torch.bool)
    begins[torch.stack([*tokens[0, [1, 2, 9]], tokens[1, 0]])] = True
    model.begins = begins
    with torch.no_grad():
        packed = model(tokens).logits
        model.begins = None
        for window, logits, first in zip(tokens, packed, begins[tokens], strict=True):
            starts = [0, *(int(start) for start in first.nonzero() if start)]
            for start, end in zip(starts, [*starts[1:], len(window)], strict=True):
                alone = model(window[None, start:end]).logits[0]
                torch.testing.assert_close(logits[start:end], alone, rtol=0, atol=1e-9)
