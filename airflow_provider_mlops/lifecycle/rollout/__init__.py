"""Step 7, rollout: release a model version gradually and judge it while it serves users."""
