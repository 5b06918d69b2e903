"""Ends with an error unless the torch installed here is the one that this environment is meant to test:
that of EXPECTED_TORCH, or without it one as new as any that tox.ini names."""

import importlib.metadata
import os
import sys

expected, found = os.environ.get("EXPECTED_TORCH", ""), importlib.metadata.version("torch")
version = tuple(int(part) for part in found.split(".")[:2])
fits = found.startswith(f"{expected}.") if expected else version >= (2, 13)
if not fits:
    sys.exit(f"this environment is for torch {expected or 'newest'}, but torch {found} is installed")
print(f"torch {found}, Python {sys.version.split()[0]}")
