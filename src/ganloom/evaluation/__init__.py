"""Scores of a run, a model or a folder of generated images, and whether scores may be compared."""
