from django.apps import AppConfig
from django.db.models.signals import post_migrate


def _write_policies(**kwargs: object) -> None:
    from hosts.migration_policies import policies as migration
    from hosts.scheduling import policies as scheduling

    scheduling.ensure_predefined()
    migration.ensure_predefined()


class HostsConfig(AppConfig):
    name = "hosts"

    def ready(self) -> None:
        from hosts import jobs  # noqa: F401  they register their kinds
        from hosts.power import jobs as power_jobs  # noqa: F401

        post_migrate.connect(_write_policies, sender=self)
