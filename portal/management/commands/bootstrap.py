"""`manage.py bootstrap [--lab]`: what a first start needs. Run again it changes nothing that is there."""

import os
import secrets
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from accounts.models import Grant, User
from accounts.permissions import grant
from events.log import record
from hosts.connect import authority
from hosts.models import Cluster, DataCenter
from jobs import runner
from jobs.models import Job, JobStatus

ADMIN = "admin"


class Command(BaseCommand):
    help = "Makes the administrator, data center and cluster Default, and with --lab registers the lab's hosts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--lab", action="store_true", help="the lab is up: register its hosts, storage, network and template")

    def handle(self, *args: Any, lab: bool, **options: Any) -> None:
        authority()
        admin = self._administrator()
        data_center, _ = DataCenter.objects.get_or_create(name="Default", defaults={"rev": 1})
        cluster, _ = Cluster.objects.get_or_create(name="Default", data_center=data_center, defaults={"rev": 1})
        if lab:
            self._register_lab(admin, cluster)

    def _administrator(self) -> User:
        """Somebody who may do everything; a random password is printed once and kept nowhere."""
        supers = Grant.objects.filter(role__name="SuperUser", object_type="system", expires_at=None, user__is_active=True).select_related(
            "user"
        )
        if held := supers.first():
            assert held.user is not None
            return held.user
        chosen = os.environ.get("VIREO_ADMIN_PASSWORD", "")
        password = chosen or secrets.token_urlsafe(12)
        with transaction.atomic():
            admin = User.objects.create_user(ADMIN, password, full_name="Administrator")
            grant("SuperUser", user=admin)
            record("user.created", "The administrator was created", obj=admin)
        self.stdout.write(f"Administrator: {ADMIN}" + ("" if chosen else f"   password (shown this once): {password}"))
        return admin

    def _register_lab(self, admin: User, cluster: Cluster) -> None:
        from lab.guest import build
        from lab.register import register
        from lab.settings import default_lab

        register(default_lab(settings.VAR), build(settings.CACHE_DIR), admin, cluster, self._run)

    def _run(self, job: Job) -> None:
        runner.run(job.pk)
        job.refresh_from_db()
        if job.status != JobStatus.SUCCEEDED:
            self.stderr.write(f"{job.title}: {job.get_status_display()} {job.error} {job.error_detail}")
