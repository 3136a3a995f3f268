"""What train, evaluate, validate and monitor share: predictions, metrics and their intervals."""
