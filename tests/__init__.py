"""Tests by capability: unit/ beside real ones in lab/ (real hosts) and browser/ (a real browser on the real stack)."""
