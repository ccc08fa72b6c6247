"""Layers that two or more network families share."""
