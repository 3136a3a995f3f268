"""Traffic: a dataset replayed against a gateway at a given rate, with the labels that come later."""
