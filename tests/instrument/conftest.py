"""Specs that are compared on simulated machines."""

from __future__ import annotations

import pytest
import tiny

from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


@pytest.fixture(scope="module")
def spec(tmp_path_factory, registry):
    return read(tiny.write_spec(tmp_path_factory.mktemp("spec"), steps="steps = 400"), registry)


@pytest.fixture
def variant(tmp_path, registry):
    """The same with keys set, and with other lines: see `tiny.write_spec`."""

    def read_variant(*sets: str, **changes: str):
        return read(tiny.write_spec(tmp_path, steps="steps = 400", **changes), registry, sets)

    return read_variant
