"""The loop, the order of data, checkpoints and the run folder."""
