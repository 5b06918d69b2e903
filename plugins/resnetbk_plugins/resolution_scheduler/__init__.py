"""Resolution schedulers: at which scale each layer works."""
