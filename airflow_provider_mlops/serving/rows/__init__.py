"""The rows of a request: checked against the model's input schema, and the errors that reject a request."""
