"""Sensors: new data, a model version or alias, an endpoint that answers."""
