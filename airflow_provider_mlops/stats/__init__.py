"""Statistics on NumPy and SciPy alone: arrays and counts come in, small frozen results go out.

Nothing here knows datasets, MLflow or Airflow. Each file has one idea, and its docstring states the formula, the paper
and the assumptions. Choose the folder by your question:

- `drift`: do two samples of a feature differ? PSI, chi-square, Kolmogorov-Smirnov, and `detect_drift` for all features
  of a table.
- `intervals`: how precise is a proportion, a mean or any metric? Closed formulas and the bootstrap.
- `paired`: which of two models is better on the same rows? DeLong, McNemar, paired losses, non-inferiority.
- `sequences`: the same questions while data arrives, with intervals that stay valid however often you look.
- `bandits`: which arm should answer the next request, and what would another policy have earned?
- `estimates`: can predicted probabilities be trusted? Calibration and the Brier score.

`arrays` names the array types and `checks` has the checks of arguments that all of them share.
"""
