"""The default thresholds of drift detection, in a module without imports so that a DAG file can read them."""

MIN_EFFECT = 0.1
"""Smallest PSI worth an alarm: a normally distributed feature that moves by a third of a standard deviation."""

DETECTABLE_EFFECT = 0.5
"""PSI that the rows must be able to show for the verdict `stable`: a move by 0.7 standard deviations."""
