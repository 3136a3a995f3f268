"""Step 5, evaluate: measure a model on test rows, by slice and group, next to a baseline and the champion."""
