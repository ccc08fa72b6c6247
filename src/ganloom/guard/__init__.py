"""The guard: measures the health of a training at intervals, says what is wrong with it, and acts on it."""
