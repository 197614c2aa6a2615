"""The way of a prompt: read the request, rank its routes, try them, stream the answer."""
