"""Save and load a trained generator as one self-describing file, and generate images from it."""
