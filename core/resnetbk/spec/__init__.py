"""What was asked for: the spec, reading it from files, and locking it. Imports no torch."""

from __future__ import annotations

from resnetbk.spec.changes import differences
from resnetbk.spec.lock import dump, lock, read_lock, resolved
from resnetbk.spec.read import read, read_text
from resnetbk.spec.spec import Data, Model, Part, Spec, Train

__all__ = [
    "Data",
    "Model",
    "Part",
    "Spec",
    "Train",
    "differences",
    "dump",
    "lock",
    "read",
    "read_lock",
    "read_text",
    "resolved",
]
