"""The configuration file: reading, checking, editing and watching it."""
