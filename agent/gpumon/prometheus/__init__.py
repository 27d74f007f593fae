"""What speaks to a Prometheus: its HTTP API, and a whole fleet read from it."""
