"""What a Python user calls; the command line calls the same. The package `ganloom` exports it.

Nothing is imported here: preparing images must not wait for torch.
"""
