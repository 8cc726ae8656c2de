"""The Django project: settings, ASGI, Celery, URLs, and the page shell: dashboard, search, live updates.

May be called by: every app, for `portal.base` (model base, generic pages) and `portal.live` (publishing changes).
May call: Django and, from pages only, the services of the apps.
"""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
