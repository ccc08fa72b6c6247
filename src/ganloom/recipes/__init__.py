"""Recipes: one complete configuration per file, with a comment that says when to use it."""
