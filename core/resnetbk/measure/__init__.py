"""Measuring: what a run costs, what it reaches, and what a model that only counts would reach."""
