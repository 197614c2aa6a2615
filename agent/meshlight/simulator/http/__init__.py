"""The simulator's HTTP server: it can be told to break its answers."""
