"""The secrets of backends: keyring, environment, plain file."""
