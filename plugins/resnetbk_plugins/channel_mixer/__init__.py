"""Channel mixers: the half of a layer that works on each row alone."""
