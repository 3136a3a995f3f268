"""Whether two samples of a feature come from the same distribution."""
