"""The plan of a rollout, declared as data: how requests are divided, what is judged, and when."""
