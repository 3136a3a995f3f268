"""Which version answers a request: arm, choice and policy."""
