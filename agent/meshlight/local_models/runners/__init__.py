"""What can run a model here: one small module for each kind of engine, behind one table."""
