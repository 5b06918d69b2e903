"""What tests of specs share."""

from made_up import registry

__all__ = ["registry"]
