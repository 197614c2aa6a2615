"""This machine's own models: found on disk, started on demand, unloaded when idle; and how new ones get here."""
