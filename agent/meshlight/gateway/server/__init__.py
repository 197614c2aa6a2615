"""The HTTP server: sockets, client connections, one request and its answer, limits."""
