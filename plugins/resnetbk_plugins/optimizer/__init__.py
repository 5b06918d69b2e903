"""Optimizers: updates of the weights, and their learning rate schedule."""
