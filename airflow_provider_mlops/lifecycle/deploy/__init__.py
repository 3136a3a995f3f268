"""Step 7, deploy: make a model version the champion and check that the gateway serves it."""
