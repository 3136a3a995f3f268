"""The steps of the machine-learning lifecycle. Each file: a Spec, a Result, and one function that does the step.

Nothing here imports Airflow, and nothing heavy is imported before a step runs.
"""
