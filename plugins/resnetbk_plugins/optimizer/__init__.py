"""Optimizers: the update and its schedule."""
