"""A simulated Backend.AI cluster: manager, model services, app proxy."""
