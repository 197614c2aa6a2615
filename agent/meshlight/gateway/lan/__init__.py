"""The LAN listener: what paired peers may ask, behind mutual TLS."""
