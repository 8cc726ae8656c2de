"""Logical networks and MAC addresses.

May be called by: vms, hosts' registration, api, pages. May call: hosts, accounts, jobs, events, hypervisor (from jobs only).
"""
