"""Sequence mixers: the half of a layer in which rows exchange information."""
