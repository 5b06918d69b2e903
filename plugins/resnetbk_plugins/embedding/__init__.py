"""Tokens to rows: one file a component, its torch module beside it."""
