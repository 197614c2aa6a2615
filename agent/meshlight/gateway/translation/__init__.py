"""Translates requests of one protocol to another, and the answers back: pure functions, without I/O."""
