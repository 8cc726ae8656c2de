"""`manage.py lab up|down|status|kill-host NAME|cut-host NAME|heal-host NAME|…`"""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from lab.bmc import Bmc
from lab.cluster import Lab
from lab.namespaces import LabError
from lab.settings import default_lab

ON_ONE_HOST = ("kill-host", "cut-host", "heal-host", "stop-libvirtd", "start-libvirtd", "freeze-libvirtd", "thaw-libvirtd")


class Command(BaseCommand):
    help = "Real libvirt hosts on this machine, each in namespaces of its own."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        up = verbs.add_parser("up", help="make what is missing; idempotent")
        up.add_argument("--hosts", type=int, default=2)
        down = verbs.add_parser("down", help="end the hosts and their guests; files stay")
        down.add_argument("--purge", action="store_true", help="remove their files too")
        status = verbs.add_parser("status", help="which hosts live; exit code 1 when one does not")
        status.add_argument("--quiet", action="store_true")
        verbs.add_parser("client-dir", help="the directory for pkipath= in virsh's URI")
        for verb in ON_ONE_HOST:
            verbs.add_parser(verb).add_argument("name")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        lab = default_lab(settings.VAR, options.get("hosts") or 2)
        try:
            if verb in ON_ONE_HOST:
                getattr(lab, verb.replace("-", "_"))(options["name"])
            else:
                getattr(self, verb.replace("-", "_"))(lab, options)
        except LabError as error:
            raise CommandError(str(error)) from None

    def up(self, lab: Lab, options: dict[str, Any]) -> None:
        lab.up()
        try:
            Bmc(lab).start()
        except LabError as error:
            self.stderr.write(str(error))  # the hosts run without it
        self.status(lab, {"quiet": False})

    def down(self, lab: Lab, options: dict[str, Any]) -> None:
        Bmc(lab).stop()
        if options["purge"]:
            lab.purge()
        else:
            lab.down()

    def status(self, lab: Lab, options: dict[str, Any]) -> None:
        hosts = lab.status()
        if not options["quiet"]:
            for host in hosts:
                self.stdout.write(f"{host.name}  {host.address}  {host.state}  {host.uri}")
        if not all(host.alive for host in hosts):
            sys.exit(1)

    def client_dir(self, lab: Lab, options: dict[str, Any]) -> None:
        self.stdout.write(str(lab.ca.client_dir()))
