"""Snapshots: the tree of a VM's frozen states, the layers of its disks, and the jobs that make, try, keep and merge them.

`chain` is the arithmetic of layers, pure; `rows` writes what it says; `on_host` does it; `services` are the verbs.
"""
