"""Discovery and announcement of nodes by multicast DNS."""
