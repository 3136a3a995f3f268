"""Step 4, tune: search for parameters, then train and register the best model."""
