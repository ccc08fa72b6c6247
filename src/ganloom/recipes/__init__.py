"""Recipes: one complete configuration a file, with a comment that says when to use it."""
