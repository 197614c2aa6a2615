"""The service's process: it starts, joins every part, and ends."""
