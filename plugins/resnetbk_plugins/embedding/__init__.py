"""Embeddings: tokens to rows."""
