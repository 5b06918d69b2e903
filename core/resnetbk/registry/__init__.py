"""What is installed: manifests, finding components by name, and what they promise each other."""

from __future__ import annotations

from resnetbk.registry.contract import CAPABILITIES, breaches
from resnetbk.registry.discovery import Plugin
from resnetbk.registry.entry import Entry, Manifest
from resnetbk.registry.lookup import Registry
from resnetbk.registry.manifest import read_manifest

__all__ = ["CAPABILITIES", "Entry", "Manifest", "Plugin", "Registry", "breaches", "read_manifest"]
