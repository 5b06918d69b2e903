"""What authors of plugins import in their tests."""

from resnetbk.testing.suite import all_components

__all__ = ["all_components"]
