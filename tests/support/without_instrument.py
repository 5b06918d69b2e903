"""A pytest plugin that hides the instrument, as if it were not installed:
`python -m pytest -p without_instrument tests/core`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from resnetbk.registry import discovery, lookup

_installed = discovery.installed


def _others() -> Iterator[discovery.Plugin]:
    return (plugin for plugin in _installed() if plugin.name != "resnetbk-instrument")


discovery.installed = lookup.installed = _others
sys.modules["resnetbk_instrument"] = None  # type: ignore[assignment]
