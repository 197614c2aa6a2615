"""The service: its process, and the wiring of all parts."""
