"""The connection to the rollout store: routes come from it, and evidence goes into it."""
