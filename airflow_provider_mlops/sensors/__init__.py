"""Sensors: new data, a model version or alias, an endpoint that answers or is healthy, a rollout's end, labels."""
