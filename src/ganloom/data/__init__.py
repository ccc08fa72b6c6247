"""Turn images from any source into a packed dataset, once, and stream them to the training."""
