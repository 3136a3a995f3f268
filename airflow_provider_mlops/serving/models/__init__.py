"""Model versions as the gateway holds them: loaded, checked against their signature, swapped."""
