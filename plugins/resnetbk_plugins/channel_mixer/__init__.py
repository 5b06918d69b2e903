"""What happens within a row: one file a component, its torch module beside it."""
