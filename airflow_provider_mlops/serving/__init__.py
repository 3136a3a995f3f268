"""The gateway: answers predictions over HTTP, logs every one of them, and takes labels. Knows neither Airflow nor the steps."""
