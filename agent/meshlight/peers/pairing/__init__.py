"""Pairing two machines: one asks, two people compare six digits, each pins the other's key."""
