"""What authors of plugins import in their tests."""
