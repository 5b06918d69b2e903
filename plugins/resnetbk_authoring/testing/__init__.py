"""What authors of plugins import in their tests."""

from resnetbk_authoring.testing.suite import all_components

__all__ = ["all_components"]
