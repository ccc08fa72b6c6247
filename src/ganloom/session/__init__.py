"""A run in time: start it, resume it, step, record, score, stop."""
