"""Waits for the gateway to answer for a model."""
