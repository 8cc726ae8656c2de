"""Benchmarks: each module's `measure()` gives figures; `python -m bench [NAME …]` runs them in turn."""
