"""The real stack in a real browser."""
