"""Local engines and servers: one file a kind."""
