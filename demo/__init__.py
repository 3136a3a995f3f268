"""`make demo`: data to monitored model, in a real Airflow on this machine."""
