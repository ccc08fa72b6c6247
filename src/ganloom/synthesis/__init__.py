"""Using what was trained: load a model, make pictures."""
