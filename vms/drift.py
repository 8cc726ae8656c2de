"""What somebody changed with virsh: a domain's definition against what was asked for. Writing it down is vms.observe's."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from hosts.models import Host
from hypervisor.domain_xml import Difference, from_xml
from hypervisor.domain_xml import drift as differences_between
from hypervisor.domains import DomainRecord
from vms.models import VM, VmOrigin
from vms.spec import build_spec

Pair = tuple[VM, DomainRecord]
# Of an adopted domain Vireo asks for nothing but these: the rest stays as it was found.
ADOPTED_FIELDS = frozenset({"memory_mib", "vcpus"})
# What `vms.services.accept_drift` can take over into the VM.
ACCEPTABLE = frozenset({"memory_mib", "vcpus"})

# VMs that are loaded at once; SQLite takes no expression of a thousand parts.
BATCH = 200

# Per host and domain: the definition that was compared last, and the age of the row that it was compared with.
_compared: dict[UUID, dict[str, tuple[int, datetime]]] = {}


def _key(pair: Pair) -> tuple[int, datetime]:
    vm, record = pair
    return hash(record.xml), vm.updated_at


def unseen(host: Host, pairs: Sequence[Pair]) -> list[Pair]:
    """Those whose definition or whose row changed since the last `compare`: comparing costs a parse, and mostly nothing has changed."""
    known = _compared.setdefault(host.pk, {})
    present = {record.uuid for _vm, record in pairs}
    for uuid in known.keys() - present:
        del known[uuid]
    return [pair for pair in pairs if pair[1].persistent and known.get(pair[1].uuid) != _key(pair)]


def compare(host: Host, pairs: Sequence[Pair]) -> Iterator[tuple[VM, tuple[Difference, ...]]]:
    """Each VM with how its domain's definition differs from what was asked for."""
    for start in range(0, len(pairs), BATCH):
        yield from _compare(host, pairs[start : start + BATCH])


def _compare(host: Host, pairs: Sequence[Pair]) -> Iterator[tuple[VM, tuple[Difference, ...]]]:
    rows = VM.objects.select_related("host", "cluster", "owner").prefetch_related("attachments__disk", "nics__network")
    full = {str(vm.pk): vm for vm in rows.filter(pk__in=[vm.pk for vm, _record in pairs])}
    for pair in pairs:
        vm, record = full.get(pair[1].uuid), pair[1]
        if vm is None:
            continue
        try:
            found = from_xml(record.xml)
        except ValueError:
            continue  # not ours to read, so not ours to judge
        attachments = sorted(vm.attachments.all(), key=lambda attachment: attachment.target)
        differences = differences_between(build_spec(vm, attachments, sorted(vm.nics.all(), key=lambda nic: nic.name)), found)
        if vm.origin == VmOrigin.ADOPTED:
            differences = tuple(each for each in differences if each.field in ADOPTED_FIELDS)
        _compared.setdefault(host.pk, {})[record.uuid] = _key(pair)
        yield vm, differences


def as_json(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """As `VM.drift` holds them. Texts are cut: the host's administrator wrote them."""
    return [{"field": each.field, "wanted": each.wanted[:500], "found": each.found[:500]} for each in differences[:50]]
