"""Corpora: the text to learn from, and the part of it that is held out."""
