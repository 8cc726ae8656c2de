"""The event log: what happened, to what, by whom.

May be called by: everything but models and hypervisor. May call: portal.live.
"""
