"""How new models get here: from a hub, or from the package index; resumable, with checked hashes."""
