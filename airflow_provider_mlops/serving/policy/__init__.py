"""Routing policies: which version answers a request, and with what probability. Each policy is small and pure.

A policy never changes: new weights or new statistics make a new one. The propensity of a choice is the probability with
which the policy made it.
"""
