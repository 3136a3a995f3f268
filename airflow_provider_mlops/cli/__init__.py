"""The command line `airflow-mlops`."""
