"""What simulated engines answer: text, vectors, images and audio, in each protocol."""
