"""A fitted model as arithmetic on plain rows, without scikit-learn's checks and without DataFrames.

For one row, scikit-learn spends from 20 to 200 times as long checking and copying its input as calculating. The gateway
has already checked the rows, so it may do only the calculation.

- `compiled_model.py`: `CompiledModel.of` compiles a model, or says why it cannot.
- `preprocessing.py`, `elementwise.py`, `categories.py`: imputers, scalers and encoders, also in a ColumnTransformer.
- `linear.py`, `ensembles.py`, `tree_tables.py`: what scikit-learn's estimators learned, as arrays.
- `xgboost_trees.py`, `lightgbm_trees.py`: the trees of these libraries.
- `verification.py`, `trial_rows.py`: the model itself is the judge. If a result differs anywhere, it is not compiled.

What the arithmetic does not cover, it declines: then the model itself predicts the rows, or refuses them with its own
error. So a compiled model accepts and refuses exactly what the model does.
"""
