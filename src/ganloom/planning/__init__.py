"""Rules alone: what to do with these images on this machine, and why."""
