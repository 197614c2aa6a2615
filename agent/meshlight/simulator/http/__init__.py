"""The simulator's HTTP server, which can break its answers on request."""
