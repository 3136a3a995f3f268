"""Bandits on additive statistics: a file an algorithm, each with the propensity of every arm.

A policy is a small frozen dataclass. It turns statistics, which replicas add up, into the probability of each arm;
`draw` picks one from them. So what is logged as a propensity *is* the probability with which the arm was drawn, and
estimates of what another policy would have earned (`off_policy`) rest on it. Arms are the last axis of all arrays;
statistics of many problems at once may stand before it.
"""
