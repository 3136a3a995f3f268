"""The routing policies: each in one file, small and pure.

A policy is built from a rollout's plan and statistics, and is never changed: new weights or new statistics make a new
one. What it says as the propensity of a choice is the probability with which it made it.
"""
