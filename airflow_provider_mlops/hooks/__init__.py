"""Connections to MLflow and to the serving gateway."""
