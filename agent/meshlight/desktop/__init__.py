"""What the user sees; a client of the local API like any other."""
