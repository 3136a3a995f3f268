"""HTTP: connections, and the metrics under `/metrics`."""
