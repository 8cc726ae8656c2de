from django.apps import AppConfig


class StorageConfig(AppConfig):
    name = "storage"

    def ready(self) -> None:
        from storage import disk_jobs, jobs, locks  # noqa: F401  they register their kinds
        from storage.images import export_jobs  # noqa: F401
        from storage.images import jobs as image_jobs  # noqa: F401
