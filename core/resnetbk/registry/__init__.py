"""What is installed: manifests, finding components by name, and what they promise each other."""

from __future__ import annotations

from resnetbk.registry.contract import WORDS, breaches
from resnetbk.registry.discovery import Plugin
from resnetbk.registry.lookup import Registry
from resnetbk.registry.manifest import Entry, Manifest, read_manifest

__all__ = ["WORDS", "Entry", "Manifest", "Plugin", "Registry", "breaches", "read_manifest"]
