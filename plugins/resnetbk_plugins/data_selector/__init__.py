"""Data selectors: which windows the next step trains on."""
