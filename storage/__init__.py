"""Storage domains and disks.

May be called by: vms, watcher, api, pages. May call: hosts, accounts, jobs, events, hypervisor (from jobs only).
"""
