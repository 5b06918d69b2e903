"""What was asked for: the spec, and reading it from files. Imports no torch."""

from __future__ import annotations

from resnetbk.spec.read import read, read_text
from resnetbk.spec.spec import Data, Model, Part, Spec, Train

__all__ = ["Data", "Model", "Part", "Spec", "Train", "read", "read_text"]
