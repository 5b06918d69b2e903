"""All that a run depends on, written down, and how that differs from what is here."""
