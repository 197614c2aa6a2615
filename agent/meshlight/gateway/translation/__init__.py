"""Requests of one protocol carried by another, and the answers carried back: pure, without I/O or clock."""
