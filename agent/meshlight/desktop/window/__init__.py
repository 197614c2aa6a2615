"""The mesh window: the service's own page in the system's web view, in a process of its own."""
