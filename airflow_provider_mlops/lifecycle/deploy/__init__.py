"""Step 7, deploy: make a model version the champion and verify that the gateway serves it."""
