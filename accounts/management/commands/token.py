"""`manage.py token create USER [--name NAME] [--days N]`: an API token from the command line."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from events.log import record


class Command(BaseCommand):
    help = "Creates an API token and prints it; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create")
        create.add_argument("username")
        create.add_argument("--name", default="command line")
        create.add_argument("--days", type=int, default=90, help="0: it never expires")

    def handle(self, *args: Any, username: str, name: str, days: int, **options: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            raise CommandError(f"There is no user {username}.") from None
        expires_at = timezone.now() + timedelta(days=days) if days else None
        token, text = tokens.create(user, name, expires_at)
        record("token.created", f"API token {token.name} of {user} was created on the command line", obj=user)
        self.stdout.write(text)
