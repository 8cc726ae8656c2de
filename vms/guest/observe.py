"""The only writer of what guests report. A guest is hostile: what cannot be seen goes, lengths and numbers are bounded; pages escape."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from hypervisor.guest_agent import GuestFacts
from portal.live import publish
from portal.names import plain
from vms.guest.models import GuestReport
from vms.models import VM

MOST_NICS, MOST_ADDRESSES, MOST_FILESYSTEMS, MOST_USERS = 16, 16, 32, 32


def _text(value: str, longest: int = 255) -> str:
    return plain(value[: longest * 4])[:longest]


def as_json(facts: GuestFacts) -> dict[str, Any]:
    """What is kept of a report."""
    return {
        "hostname": _text(facts.hostname),
        "os": _text(facts.os),
        "kernel": _text(facts.kernel),
        "time_zone": _text(facts.time_zone, 64),
        "nics": [
            {
                "name": _text(nic.name, 32),
                "mac": _text(nic.mac, 32).lower(),
                "addresses": [_text(address, 64) for address in nic.addresses[:MOST_ADDRESSES]],
            }
            for nic in facts.nics[:MOST_NICS]
        ],
        "filesystems": [
            {
                "mountpoint": _text(filesystem.mountpoint),
                "kind": _text(filesystem.kind, 32),
                "total_bytes": filesystem.total_bytes,
                "used_bytes": min(filesystem.used_bytes, filesystem.total_bytes),
            }
            for filesystem in facts.filesystems[:MOST_FILESYSTEMS]
        ],
        "users": [
            {"name": _text(user.name, 64), "since": user.since.isoformat() if user.since else ""} for user in facts.users[:MOST_USERS]
        ],
    }


def reported(vm_id: UUID | str, facts: GuestFacts, at: datetime | None = None) -> None:
    """The agent told everything. Nothing happens for a VM that has gone meanwhile."""
    vm = VM.objects.filter(pk=vm_id).only("pk", "status").first()
    if vm is None:
        return
    GuestReport.objects.update_or_create(vm=vm, defaults={"facts": as_json(facts), "seen_at": at or timezone.now()})
    _tell(vm.pk)


def frozen(vm: VM, until: datetime | None) -> None:
    """Its filesystems are frozen until then, or no longer."""
    GuestReport.objects.update_or_create(vm=vm, defaults={"frozen_until": until})
    _tell(vm.pk)


def sealed(vm: VM) -> None:
    """It was cleaned, and is off."""
    VM.objects.filter(pk=vm.pk).update(sealed_at=timezone.now())
    _tell(vm.pk)


def _tell(vm_id: UUID) -> None:
    VM.objects.filter(pk=vm_id).update(rev=F("rev") + 1)
    row = VM.objects.filter(pk=vm_id).values("rev", "status").first()
    if row is not None:
        publish("vm", vm_id, "changed", row["rev"], {"status": row["status"]})
