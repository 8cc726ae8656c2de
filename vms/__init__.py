"""Virtual machines, templates and consoles.

May be called by: watcher (observe), api, pages. May call: hosts, storage, networks, accounts, jobs, events, hypervisor (from jobs and consoles only).
"""
