"""The HTTP server: listening sockets, client connections, one request and its answer, limits."""
