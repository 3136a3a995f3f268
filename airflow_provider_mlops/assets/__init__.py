"""Assets with URIs `mlops://...`, and the events that tasks emit for them."""
