"""Runtimes: the task's own process, or another interpreter on the same machine."""
