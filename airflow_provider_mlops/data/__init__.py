"""What a dataset is and where it lies."""
