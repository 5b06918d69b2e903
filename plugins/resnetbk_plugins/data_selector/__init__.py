"""Data selectors: which windows come next."""
