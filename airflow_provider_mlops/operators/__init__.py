"""The steps as Airflow operators, one a file."""
