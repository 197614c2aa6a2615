"""The rules and data types of the mesh. Pure: no await, no clock, no I/O."""
