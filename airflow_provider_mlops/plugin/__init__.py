"""The pages that the Airflow API server serves for us: reports and Data Docs."""
