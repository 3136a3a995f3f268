"""Step 8, monitor: compare what the gateway served with the data that the model was trained on."""
