"""Gradient strategies: how a step's gradients come about."""
