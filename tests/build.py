"""Builders: the rows that a test needs, with names that do not collide."""

import itertools
from typing import Any

from django.utils import timezone

from accounts.models import User
from accounts.permissions import grant
from hosts.models import Cluster, DataCenter, Host, HostStatus, HostTransport
from networks.models import Network
from storage.models import Disk, StorageDomain, StorageKind, StorageStatus
from vms.models import VM, DiskAttachment, Layer, Nic, Position, Snapshot, SnapshotDisk, Template
from vms.snapshots import machine
from vms.snapshots.models import SnapshotStatus

_number = itertools.count(1)
PASSWORD = "correct horse battery"


def make_user(username: str = "", role: str = "", on: Any = None, **fields: Any) -> User:
    """A user with PASSWORD; `role` is granted on `on`, or on the system."""
    user = User.objects.create_user(username or f"user{next(_number)}", PASSWORD, **fields)
    if role:
        grant(role, on, user=user)
    return user


def make_data_center(**fields: Any) -> DataCenter:
    return DataCenter.objects.create(**{"name": f"dc{next(_number)}"} | fields)


def make_cluster(**fields: Any) -> Cluster:
    fields.setdefault("data_center_id", None)
    if fields["data_center_id"] is None:
        del fields["data_center_id"]
        fields.setdefault("data_center", make_data_center())
    return Cluster.objects.create(**{"name": f"cluster{next(_number)}"} | fields)


def make_host(**fields: Any) -> Host:
    """A host of libvirt's test driver, up, with 8 GiB."""
    number = next(_number)
    fields.setdefault("cluster", None)
    if fields["cluster"] is None:
        fields["cluster"] = make_cluster()
    defaults = {
        "name": f"host{number}",
        "address": f"192.0.2.{number % 250}",
        "port": number,
        "transport": HostTransport.TEST,
        "test_uri": "test:///default",
        "status": HostStatus.UP,
        "status_since": timezone.now(),
        "memory_bytes": 8 << 30,
        "cpu_count": 8,
    }
    return Host.objects.create(**defaults | fields)


def make_network(**fields: Any) -> Network:
    fields["cluster"] = fields.get("cluster") or make_cluster()
    return Network.objects.create(**{"name": f"network{next(_number)}"} | fields)


def make_storage(**fields: Any) -> StorageDomain:
    fields["data_center"] = fields.get("data_center") or make_data_center()
    defaults = {
        "name": f"storage{next(_number)}",
        "kind": StorageKind.SHARED_DIR,
        "path": "/var/lib/vireo/shared",
        "status": StorageStatus.ACTIVE,
        "capacity_bytes": 100 << 30,
        "available_bytes": 60 << 30,
    }
    return StorageDomain.objects.create(**defaults | fields)


def make_disk(**fields: Any) -> Disk:
    if "domain" not in fields:
        fields["domain"] = make_storage()
    return Disk.objects.create(**{"name": f"disk{next(_number)}", "capacity_bytes": 1 << 30} | fields)


def make_snapshot(vm: VM, disk: Disk | None = None, name: str = "before") -> Snapshot:
    """As the job leaves one behind: the disk's first file is frozen, and the VM writes into a layer over it."""
    snapshot = Snapshot.objects.create(vm=vm, name=name, status=SnapshotStatus.OK, machine=machine.describe(vm))
    Position.objects.update_or_create(vm=vm, defaults={"current": snapshot})
    if disk is not None:
        frozen = Layer.objects.create(disk=disk, volume=disk.volume_name, path=disk.path)
        Layer.objects.create(disk=disk, parent=frozen, state="active", volume=f"{disk.pk}.{snapshot.pk}.qcow2", path="/top")
        SnapshotDisk.objects.create(snapshot=snapshot, layer=frozen, target="vda", capacity_bytes=disk.capacity_bytes)
    return snapshot


def make_template(**fields: Any) -> Template:
    """A template with one disk on a shared storage domain of its data center."""
    disks = fields.pop("disks", None)
    fields["data_center"] = fields.get("data_center") or make_data_center()
    template = Template.objects.create(**{"name": f"template{next(_number)}", "memory_mib": 128} | fields)
    template.disks.set([make_disk(domain=make_storage(data_center=template.data_center))] if disks is None else disks)
    return template


def make_vm(**fields: Any) -> VM:
    """A VM that is down, in its host's cluster when a host is given."""
    if "cluster" not in fields:
        fields["cluster"] = fields["host"].cluster if fields.get("host") else make_cluster()
    return VM.objects.create(**{"name": f"vm{next(_number)}", "status_since": timezone.now()} | fields)


def attach(vm: VM, disk: Disk, target: str = "vda", **fields: Any) -> DiskAttachment:
    return DiskAttachment.objects.create(vm=vm, disk=disk, target=target, **fields)


def make_nic(vm: VM, network: Network | None = None, **fields: Any) -> Nic:
    number = next(_number)
    return Nic.objects.create(vm=vm, network=network, **{"mac": f"52:54:00:00:{number // 256 % 256:02x}:{number % 256:02x}"} | fields)
