"""Backend.AI clusters: signed requests to the manager, services behind an app proxy."""
