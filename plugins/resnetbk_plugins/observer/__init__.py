"""Observers: receive the events of a run."""
