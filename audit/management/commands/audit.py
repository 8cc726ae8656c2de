"""Verifies, exports and trims the audit log."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import chain, export, retention
from audit.models import Entry
from portal.errors import FieldError


def _noted(text: str) -> tuple[int, str]:
    number, _, value = text.partition(":")
    if not number.isdecimal() or len(value) != 64:
        raise ArgumentTypeError("write ENTRY:HASH, as an entry's page shows them")
    return int(number), value.lower()


class Command(BaseCommand):
    help = "The audit log: «verify» finds out whether it was changed, «export» writes it out, «trim» removes what is too old."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verify = verbs.add_parser("verify", help="reads the whole chain; ends with 1 and names the entry where it is broken")
        verify.add_argument(
            "--expect", type=_noted, action="append", default=[], metavar="ENTRY:HASH", help="a hash that was noted elsewhere"
        )
        write = verbs.add_parser("export", help="writes all entries, the oldest first")
        write.add_argument("--format", choices=export.FORMATS, default="jsonl")
        write.add_argument("--filter", default="", help="as on the page, for example «who:anna time>=2026-01-31»")
        verbs.add_parser("trim", help="removes what is older than VIREO_AUDIT_DAYS; the hourly task does the same")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        getattr(self, f"_{verb}")(**options)

    def _verify(self, expect: list[tuple[int, str]], **_: Any) -> None:
        report = chain.verify(dict(expect))
        for fault in report.faults:
            self.stdout.write(f"entry {fault.entry_id}: {fault.text}" if fault.entry_id is not None else fault.text)
        if report.faults:
            raise CommandError(f"The audit log is broken: {len(report.faults)} faults.", returncode=1)
        before = f" Those up to {report.removed_to_id} left it by age." if report.removed_to_id else ""
        self.stdout.write(f"The audit log is sound: {report.count} entries.{before}")
        if report.last_id:
            self.stdout.write(f"Note this elsewhere, for --expect: {report.last_id}:{report.last_hash}")

    def _export(self, format: str, filter: str, **_: Any) -> None:
        from audit.pages import LIST
        from portal.pages.filtering import apply_filter

        chain.seal()
        try:
            found = apply_filter(Entry.objects.all(), filter, LIST.filters, LIST.free)
        except FieldError as error:
            raise CommandError(error.text) from None
        for line in export.lines(found.order_by("pk").iterator(chunk_size=500), format):
            self.stdout.write(line, ending="")

    def _trim(self, **_: Any) -> None:
        self.stdout.write(f"{retention.trim()} entries were removed.")
