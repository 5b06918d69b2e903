"""The instrument's verbs keep what all verbs promise."""

from __future__ import annotations

from resnetbk_authoring.testing import all_components


@all_components("resnetbk-instrument")
def test_conformance(component, check):
    check.run(component)
