"""The gateway's processes: start, supervise, inform and stop them."""
