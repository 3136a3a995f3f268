"""Quality of predicted probabilities: see `calibration` for reliability curves, calibration error and Brier score."""
