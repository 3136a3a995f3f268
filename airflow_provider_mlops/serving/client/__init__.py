"""A client for the gateway's HTTP API."""
