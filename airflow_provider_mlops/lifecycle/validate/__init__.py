"""Step 6, validate: check a model version against gates before it is deployed."""
