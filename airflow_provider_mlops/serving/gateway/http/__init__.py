"""HTTP: the protocol, its transport and the metrics endpoint."""
