"""From what a person asked for to prepared images, a complete configuration, and on to the training."""
