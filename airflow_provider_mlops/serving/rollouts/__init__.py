"""Rollouts: how they divide traffic between versions, the evidence about each version, and the store of both."""
