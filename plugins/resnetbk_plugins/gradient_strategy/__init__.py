"""Gradient strategies: how a step's gradients are computed."""
