"""What tests of locks share."""

from made_up import registry

__all__ = ["registry"]
