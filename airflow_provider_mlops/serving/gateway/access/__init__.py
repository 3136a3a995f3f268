"""Who may do what at the gateway: keys and their rights, limits of each client, TLS, and web pages of other origins."""
