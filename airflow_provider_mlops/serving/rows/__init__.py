"""Rows of a request, the input schema they must match, and the errors that reject a request."""
