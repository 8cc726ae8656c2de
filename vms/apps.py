from django.apps import AppConfig


class VmsConfig(AppConfig):
    name = "vms"

    def ready(self) -> None:
        from vms import jobs  # noqa: F401  registers its kinds
