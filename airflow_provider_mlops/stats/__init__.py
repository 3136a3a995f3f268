"""Drift tests, intervals, paired comparisons and sample sizes, on NumPy and SciPy alone.

One idea a file. Nothing here knows of datasets, MLflow or Airflow: counts and arrays come in, small frozen
results go out.
"""
