"""Step 4, tune: search for hyperparameters, then train and register the best model."""
