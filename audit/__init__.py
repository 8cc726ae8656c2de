"""The audit log: who did, or was refused, what, on what, from where; a chain of hashes that nobody can change unseen.

May be called by: services, jobs, events.log, consoles and the middleware. May call: accounts, portal.
"""
