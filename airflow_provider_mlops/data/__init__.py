"""Datasets, profiles of data, and the storage they are kept in."""
