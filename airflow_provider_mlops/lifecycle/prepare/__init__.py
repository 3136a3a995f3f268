"""Step 3, prepare: split a dataset and declare the preprocessing that training fits."""
