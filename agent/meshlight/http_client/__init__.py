"""A small HTTP/1.1 client for inference requests and probes: addresses, DNS, connections, responses."""
