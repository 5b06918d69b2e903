"""Resolution schedulers: the scale at which each layer works."""
