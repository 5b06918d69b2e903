"""The first-party components: one folder a kind, one file a component; see registry.toml."""
