"""What beat runs for storage."""

from celery import shared_task

from storage.images import downloads, uploads


@shared_task(name="storage.uploads")
def sweep_uploads() -> None:
    """Abandoned uploads end, exports that were kept long enough go."""
    uploads.sweep()
    downloads.sweep()
