"""The mathematics of a training: the adversarial step, what it is made of, and its checkpoints."""
