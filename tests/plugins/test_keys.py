"""What the keys of first-party components permit is told before somebody is refused."""

from __future__ import annotations

import inspect

import attrs
import pytest

from resnetbk.registry.lookup import Registry
from resnetbk_authoring.keys import keys, spec_fields

REGISTRY = Registry.discover(allow=["resnetbk"])

BY_NOTE = {
    "eta_high": "at least another key",
    "sha256": "a checksum",
    "path": "files or a folder, not empty",
    "files": "files",
    "names": "names of distributions, or patterns of them",
    "patterns": "patterns of names",
    "plays": "names of plays",
    "without": "names of plays",
    "valid": "names of plays; files or a folder",
    "rates": "a number for each name",
    "layers": "layers of the model",
    "factor": "as many as `layers` needs",
    "reference": "needed for one measure only",
    "name": "a class of torch.optim",
    "options": "of that class",
}
"""Keys whose limits depend on more than their value, and what their notes say instead."""


@pytest.mark.parametrize("entry", REGISTRY.entries(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_limits_are_in_the_reference_and_in_show(entry) -> None:
    component = REGISTRY.load(entry)
    allowed = {key.path[0]: key.allowed for key in keys(component) if len(key.path) == 1}
    for field in spec_fields(component):
        if field.validator is not None and not allowed[field.name]:
            assert field.name in BY_NOTE, f"{field.name}: what does {field.validator} permit?"
            notes = inspect.getdoc(component) or ""
            assert field.name in notes or "every key, is as in" in notes


@pytest.mark.parametrize("entry", REGISTRY.entries(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_notes_on_keys_lead_nowhere_else(entry) -> None:
    """A class that neither `show` nor the reference prints explains nothing."""
    component = REGISTRY.load(entry)
    if attrs.fields(component):
        assert "see `" not in (inspect.getdoc(component) or "")
