"""The instrument: what specs cost, and what their components save. A plugin like any other."""
