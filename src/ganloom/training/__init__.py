"""The adversarial step, and what happens when around it."""
