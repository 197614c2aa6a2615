"""What lasts: configuration, secrets, runtime files."""
