"""Other Meshlights: found, paired, trusted, shared with, and followed to new addresses."""
