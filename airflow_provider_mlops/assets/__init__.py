"""What the asset URIs `mlops://...` mean."""
