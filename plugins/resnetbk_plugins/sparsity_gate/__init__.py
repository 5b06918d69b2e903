"""Sparsity gates: which rows a layer computes."""
