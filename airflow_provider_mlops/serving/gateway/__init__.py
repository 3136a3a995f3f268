"""The process that answers: the application, its workers, batches, limits, metrics and administration."""
