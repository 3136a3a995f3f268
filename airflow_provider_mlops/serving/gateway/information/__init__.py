"""What a gateway says about itself and its models, over HTTP and gRPC."""
