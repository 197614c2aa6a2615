"""What lasts: configuration, secrets, keys, certificates and the files of a running service."""
