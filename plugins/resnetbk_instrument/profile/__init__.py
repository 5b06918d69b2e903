"""What one spec or one run costs, part by part."""
