"""Bandit algorithms on additive statistics, one algorithm per file, each with the propensity of every arm.

A policy is a small frozen dataclass (`BetaThompson`, `GaussianThompson`, `EpsilonGreedy`, `UCB1`, `LinUCB`,
`LinearThompson`). It turns statistics, which replicas add up, into the probability of each arm; `propensity.draw` picks
one arm from these probabilities. What is logged as a propensity is therefore exactly the probability with which the arm
was drawn, and `off_policy` can estimate what another policy would have earned.

Arms are the last axis of all arrays. Statistics of many problems at once can have more axes before it.
"""
