"""Reports for people: what was found in images, and what became of a training."""
