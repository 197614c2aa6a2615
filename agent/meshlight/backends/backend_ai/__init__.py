"""Backend.AI clusters: signed requests to the manager, model services behind an app proxy."""
