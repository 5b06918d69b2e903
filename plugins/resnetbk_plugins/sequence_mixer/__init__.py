"""How rows exchange information: one file a component, its torch module beside it."""
