"""The gateway's pages for people: its models at `/`, and its HTTP API at `/docs`. They load no other files."""
