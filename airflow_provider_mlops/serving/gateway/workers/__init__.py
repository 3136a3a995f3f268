"""Processes of the gateway: one server, or several workers that a supervisor starts, replaces and stops."""
