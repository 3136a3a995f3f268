"""The gateway: answers predictions over HTTP, logs every one, takes labels. Knows neither Airflow nor the steps."""
