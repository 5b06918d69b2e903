"""Halting policies: which rows continue after each layer."""
