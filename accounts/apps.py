from django.apps import AppConfig
from django.db.models.signals import post_migrate


def _write_roles(**kwargs: object) -> None:
    from accounts.permissions import ensure_predefined_roles

    ensure_predefined_roles()


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        import accounts.sessions.services  # noqa: F401  it listens to sign-ins

        post_migrate.connect(_write_roles, sender=self)
