"""Initializers: the weights a run starts from."""
