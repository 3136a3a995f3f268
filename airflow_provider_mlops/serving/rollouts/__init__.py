"""Rollouts: how traffic is shared out over versions, what is known of each, and where both are kept."""
