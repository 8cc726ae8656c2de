"""What Celery finds of this app."""

from vms.consoles.thumbnails import refresh

__all__ = ["refresh"]
