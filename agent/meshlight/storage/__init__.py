"""What is stored on disk and in the keyring: configuration, secrets, keys, certificates, runtime files."""
