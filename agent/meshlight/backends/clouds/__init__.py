"""Cloud providers: one file a kind."""
