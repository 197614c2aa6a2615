"""Pure rules: what is true of the mesh, and what follows from it. No await, no clock, no I/O."""
