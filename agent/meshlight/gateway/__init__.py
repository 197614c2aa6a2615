"""What others may ask: guard, relay, control, events."""
