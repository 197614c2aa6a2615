"""The LAN listener for paired peers: TLS connections, and what peers may request on them."""
