"""The evidence of a rollout: sums of each arm, from the prediction log to the rollout store."""
