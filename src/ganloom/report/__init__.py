"""Reports as HTML: of a run, and of an inspection of images."""
