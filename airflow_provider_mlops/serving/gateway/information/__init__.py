"""Information about the gateway and its models, over HTTP and gRPC."""
