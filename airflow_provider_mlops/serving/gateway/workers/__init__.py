"""Processes of the gateway: a supervisor starts, replaces and stops the workers, and has versions tried."""
