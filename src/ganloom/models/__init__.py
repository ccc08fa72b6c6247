"""The self-describing model file, and images from a generator."""
