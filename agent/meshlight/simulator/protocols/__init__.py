"""What simulated engines answer: text, vectors, pictures and sound, in each protocol."""
