"""REST v1 under /api/v1: the same services as the pages, described by OpenAPI.

Called by nobody. May call: services, capability functions and managers of every app.
"""
