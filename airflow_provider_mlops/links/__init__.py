"""Buttons on a task instance in the Airflow UI."""
