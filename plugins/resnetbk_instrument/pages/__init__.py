"""HTML pages of runs, comparisons, ablations and explained texts."""
