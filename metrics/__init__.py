"""Samples in, history out: latest values in Redis, minute averages in the database.

May be called by: watcher (in), pages and API (out). May call: portal.live, hypervisor's dataclasses.
"""
