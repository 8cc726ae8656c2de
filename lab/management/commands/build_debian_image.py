"""`manage.py build_debian_image [--template]`: the Debian cloud image in the cache, and with --template as a template."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from lab import debian_image
from lab.guest import GuestNotBuilt


class Command(BaseCommand):
    help = "Builds a Debian cloud image from Debian's packages; about three minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--template", action="store_true", help="ask the workers to make a template of it, and return")

    def handle(self, *args: Any, template: bool, **options: Any) -> None:
        if template:
            self._ask()
            return
        try:
            path = debian_image.build(settings.CACHE_DIR, self._tell)
        except GuestNotBuilt as error:
            raise CommandError(str(error)) from None
        self.stdout.write(str(path))

    def _tell(self, share: float) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r{share:4.0%}", ending="")

    def _ask(self) -> None:
        """In the name of the first administrator; does nothing where the template is there."""
        from accounts.models import Grant
        from lab.debian_template import TEMPLATE_NAME, ask
        from portal.errors import NotPossible
        from vms.models import Template

        if Template.objects.filter(name=TEMPLATE_NAME).exists():
            return
        held = Grant.objects.filter(role__name="SuperUser", object_type="system", user__is_active=True).select_related("user").first()
        if held is None:
            raise CommandError("There is no administrator yet: run bootstrap first.")
        try:
            _template, job = ask(held.user)
        except NotPossible as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{job.title}: asked for.")
