"""Step 2, analyze: profile a dataset and write a report about it."""
