from django.apps import AppConfig


class VmsConfig(AppConfig):
    name = "vms"

    def ready(self) -> None:
        from vms import jobs  # noqa: F401  registers its kinds
        from vms.ova import jobs as ova_jobs  # noqa: F401
