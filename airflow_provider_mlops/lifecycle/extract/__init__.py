"""Step 1, extract: read rows from a source and store them as an immutable dataset."""
