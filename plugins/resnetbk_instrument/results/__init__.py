"""The results of comparisons and ablations: costs, intervals, ratios, and the n-gram baseline."""
