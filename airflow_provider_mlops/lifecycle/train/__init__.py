"""Step 4, train: fit an estimator or the user's own code and register one model version."""
