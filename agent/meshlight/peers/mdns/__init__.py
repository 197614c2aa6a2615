"""Being seen and seeing others by multicast DNS."""
