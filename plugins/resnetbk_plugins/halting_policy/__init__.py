"""Halting policies: which rows go on after each layer."""
