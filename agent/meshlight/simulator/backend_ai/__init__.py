"""A server that plays a Backend.AI cluster: manager, services, tokens."""
