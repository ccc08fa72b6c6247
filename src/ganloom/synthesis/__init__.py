"""Use a trained model: load it, generate images."""
