"""How to speak to each kind of backend."""
