"""Keeping a cluster as its policy wants it: moves by itself, within limits."""
