"""Confidence sequences: intervals that stay valid however often you look."""
