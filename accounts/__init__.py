"""Users, groups, roles, grants, tokens, sessions: who may do what where.

May be called by: views, API and services of every app, through `accounts.permissions`.
May call: portal.base, events (to record what was granted).
"""
