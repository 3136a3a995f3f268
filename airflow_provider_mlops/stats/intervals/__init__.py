"""Confidence intervals for data that is complete. For data that is still arriving, see `sequences`.

`proportion` and `mean` have closed formulas. `bootstrap` gives an interval of any metric: it draws with `resampling`
and turns resamples into an interval with `bca`. `difference` and `rescaled` derive an interval from intervals that are
already known. All return an `Interval`.
"""
