"""Errors, lengths, keyed randomness, names, shapes, pictures, files and processes: what every room needs."""
