"""The steps of the machine-learning lifecycle, one folder per step.

`spec.py` holds the step's Spec and Result. `step.py` holds the function that turns the first into the second, and
`STEP`, which ties them together. The other files are the step's parts. `scoring/` and `reports/` hold what several
steps share.

Nothing here imports Airflow, and nothing heavy is imported before a step runs.
"""
