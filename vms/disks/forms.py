"""Forms of a VM's disks."""

from typing import Any

from django import forms
from django.db.models import Q

from accounts.models import User
from accounts.quotas.models import Quota
from portal.forms import SizeField
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain, StorageStatus
from vms.models import VM, DiskBus

FORMATS = [("qcow2", "qcow2: grows as it is written"), ("raw", "raw: can be shared by several VMs")]


def _bus_field() -> forms.ChoiceField:
    return forms.ChoiceField(label="Interface", choices=DiskBus.choices, help_text="SATA takes a disk only while the VM is down.")


def attachable(user: User, vm: VM) -> Any:
    """Disks that the user may attach to the VM: ready, in its data center, and free or shareable."""
    ready = Disk.objects.visible_to(user, "disk.attach").filter(
        content=DiskContent.DATA, status=DiskStatus.OK, domain__data_center=vm.cluster.data_center_id, templates=None, children=None
    )
    ready = ready.filter(Q(attachments=None) | Q(shareable=True)).exclude(attachments__vm=vm)
    if vm.host_id is not None:
        ready = ready.filter(Q(host=None) | Q(host=vm.host_id))
    return ready.distinct().order_by("name")


def storage_for(user: User, data_center_id: Any) -> Any:
    """Storage domains where the user may make a disk now."""
    return StorageDomain.objects.visible_to(user, "disk.create").filter(data_center=data_center_id, status=StorageStatus.ACTIVE)


class AttachForm(forms.Form):
    disk = forms.ModelChoiceField(Disk.objects.none(), empty_label=None)
    bus = _bus_field()
    read_only = forms.BooleanField(required=False, label="Read only")

    def __init__(self, user: User, vm: VM, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["disk"].queryset = attachable(user, vm)  # type: ignore[attr-defined]


class NewAttachedForm(forms.Form):
    name = forms.CharField(max_length=255, required=False, help_text="Named after the VM when empty.")
    capacity_bytes = SizeField(label="Size", unit="g", initial="10 GiB")
    domain = forms.ModelChoiceField(StorageDomain.objects.none(), empty_label=None, label="Storage domain")
    format = forms.ChoiceField(choices=FORMATS)
    bus = _bus_field()
    shareable = forms.BooleanField(
        required=False, label="Shareable", help_text="Several VMs may have it at once; their guests must know how."
    )
    quota = forms.ModelChoiceField(
        Quota.objects.none(), required=False, empty_label="the VM's, or your only one", label="Counts against quota"
    )

    def __init__(self, user: User, vm: VM, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["domain"].queryset = storage_for(user, vm.cluster.data_center_id)  # type: ignore[attr-defined]
        quotas = Quota.objects.usable_by(user).filter(data_center=vm.cluster.data_center_id)
        self.fields["quota"].queryset = quotas  # type: ignore[attr-defined]
        if not quotas.exists():
            del self.fields["quota"]


class LimitsForm(forms.Form):
    io_iops = forms.IntegerField(label="Operations a second", min_value=0, help_text="0 is unlimited.")
    io_bytes = SizeField(label="Bytes a second", unit="m", help_text="Such as 50 MiB; 0 is unlimited.")


class ResizeForm(forms.Form):
    capacity_bytes = SizeField(
        label="New size", unit="g", help_text="A disk only grows. Its partitions and file systems are the guest's to grow."
    )


class _PlaceForm(forms.Form):
    domain = forms.ModelChoiceField(StorageDomain.objects.none(), empty_label=None, label="Storage domain")

    def __init__(self, user: User, disk: Disk, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        found = storage_for(user, disk.domain.data_center_id if disk.domain else None)
        self.fields["domain"].queryset = self.places(found, disk)  # type: ignore[attr-defined]

    @staticmethod
    def places(found: Any, disk: Disk) -> Any:
        return found


class MoveForm(_PlaceForm):
    @staticmethod
    def places(found: Any, disk: Disk) -> Any:
        return found.exclude(pk=disk.domain_id)


class CopyForm(_PlaceForm):
    name = forms.CharField(max_length=255)
    format = forms.ChoiceField(choices=FORMATS)
    quota = forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="none, or your only one", label="Counts against quota")
    field_order = ["name", "domain", "format", "quota"]

    def __init__(self, user: User, disk: Disk, *arguments: Any, **options: Any) -> None:
        super().__init__(user, disk, *arguments, **options)
        quotas = Quota.objects.usable_by(user)
        self.fields["quota"].queryset = quotas  # type: ignore[attr-defined]
        if not quotas.exists():
            del self.fields["quota"]
