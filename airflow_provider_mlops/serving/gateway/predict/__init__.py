"""One request from its bytes to its answer: routing, batching, prediction, logging and shadow copies."""
