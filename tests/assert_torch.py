"""Ends with an error unless the torch installed here is the one this environment is meant to test."""

import importlib.metadata
import os
import sys

expected, found = os.environ.get("EXPECTED_TORCH", ""), importlib.metadata.version("torch")
if not found.startswith(expected):
    sys.exit(f"this environment is for torch {expected}, but torch {found} is installed")
print(f"torch {found}, Python {sys.version.split()[0]}")
