from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from jobs import worker  # noqa: F401  its signals start the sweeper in workers
