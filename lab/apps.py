from django.apps import AppConfig


class LabConfig(AppConfig):
    name = "lab"

    def ready(self) -> None:
        from lab import debian_template  # noqa: F401  registers its kind of job
