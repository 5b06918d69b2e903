"""What a comparison or an ablation found: intervals, ratios, and the baseline of counting."""
