"""Serving: the gateway predicts over HTTP, logs every prediction and accepts labels. It does not need Airflow."""
