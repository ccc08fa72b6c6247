"""The guard: it looks at a training now and then, says what is wrong with it, and acts."""
