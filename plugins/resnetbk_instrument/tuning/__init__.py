"""Searching the best settings of specs, with equal trials for each."""
