"""How well predicted probabilities match what happened."""
