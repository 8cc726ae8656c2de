"""Forms of VMs. They read and shape; vms.services decides."""

import json
from typing import Any

from django import forms
from django.utils.html import format_html

from accounts.models import User
from accounts.quotas.models import Quota
from hosts.models import Cluster
from networks.models import Network
from portal.forms import SizeField
from storage.kinds import MAKING
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain, StorageStatus
from vms.costs import attributes_of
from vms.models import VM, Firmware, Template


class TemplateChoice(forms.RadioSelect):
    """Cards; a chosen template fills memory and CPUs in."""

    template_name = "vms/template_choice.html"
    option_template_name = "django/forms/widgets/radio_option.html"

    def create_option(
        self, name: str, value: Any, label: Any, selected: Any, index: int, subindex: int | None = None, attrs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        option = super().create_option(name, value, label, selected, index, subindex, attrs)
        template = getattr(value, "instance", None)
        option["subject"] = template
        defaults = (
            {"memory_mib": f"{template.memory_mib} MiB", "vcpus": template.vcpus} if template else {"memory_mib": "512 MiB", "vcpus": 1}
        )
        option["attrs"] |= {"data-defaults": json.dumps(defaults), "data-label": template.name if template else "Blank"}
        option["attrs"] |= attributes_of(template)
        return option


class NewVmForm(forms.Form):
    template = forms.ModelChoiceField(Template.objects.none(), required=False, blank=True, empty_label="Blank", widget=TemplateChoice)
    name = forms.CharField(max_length=255, widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True, "spellcheck": "false"}))
    memory_mib = SizeField(label="Memory", mib=True, initial="512 MiB", help_text="For example 512 MiB or 4G.")
    vcpus = forms.IntegerField(label="Virtual CPUs", min_value=1, max_value=512, initial=1)
    cluster = forms.ModelChoiceField(Cluster.objects.none(), empty_label=None)
    network = forms.ModelChoiceField(Network.objects.none(), required=False, empty_label="the cluster's first")
    storage_domain = forms.ModelChoiceField(StorageDomain.objects.none(), required=False, empty_label="chosen for you")
    disk_bytes = SizeField(label="Disk of a blank VM", required=False, unit="g", initial="8 GiB")
    iso = forms.ModelChoiceField(Disk.objects.none(), required=False, empty_label="none", label="Boot from ISO")
    firmware = forms.ChoiceField(choices=Firmware.choices, initial=Firmware.BIOS, label="Firmware of a blank VM")
    quota = forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="none, or your only one", label="Counts against quota")
    description = forms.CharField(required=False, max_length=4000)
    start = forms.BooleanField(required=False, initial=True, label="Run it when it is ready")

    FIRST = ("name", "memory_mib", "vcpus")
    MORE = ("cluster", "network", "storage_domain", "disk_bytes", "iso", "firmware", "quota", "description")

    def __init__(self, user: User, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.choices_of("template", Template.objects.visible_to(user, "template.use").prefetch_related("disks"))
        self.choices_of("cluster", Cluster.objects.visible_to(user, "vm.create"))
        self.choices_of("network", Network.objects.visible_to(user, "network.use"))
        usable = StorageDomain.objects.visible_to(user, "storage_domain.use").filter(status=StorageStatus.ACTIVE, kind__in=MAKING)
        self.choices_of("storage_domain", usable)
        self.choices_of("quota", Quota.objects.usable_by(user))
        if not self.fields["quota"].queryset.exists():  # type: ignore[attr-defined]
            del self.fields["quota"]
        self.choices_of("iso", Disk.objects.visible_to(user).filter(content=DiskContent.ISO, status=DiskStatus.OK))

    def choices_of(self, name: str, rows: Any) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]

    @property
    def first_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FIRST]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MORE if name in self.fields]

    @property
    def more_has_errors(self) -> bool:
        return any(name in self.errors for name in self.MORE)


class EditVmForm(forms.Form):
    name = forms.CharField(max_length=255)
    description = forms.CharField(required=False, max_length=4000)
    tags = forms.CharField(required=False, help_text="Separated by commas.")
    memory_mib = SizeField(label="Memory", mib=True)
    vcpus = forms.IntegerField(label="Virtual CPUs", min_value=1, max_value=512)
    firmware = forms.ChoiceField(choices=Firmware.choices)
    delete_protected = forms.BooleanField(required=False, label="Protect against removal")

    quota = forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="none", label="Counts against quota")

    @classmethod
    def of(cls, user: User, vm: VM, data: Any = None) -> "EditVmForm":
        asked = {field: vm.next_run.get(field, getattr(vm, field)) for field in ("memory_mib", "vcpus", "firmware")}
        initial = {
            "name": vm.name,
            "description": vm.description,
            "tags": ", ".join(vm.tags),
            "delete_protected": vm.delete_protected,
            "quota": vm.quota_id,
        } | asked
        form = cls(data, initial=initial)
        quotas = Quota.objects.usable_by(user).filter(data_center=vm.cluster.data_center_id)
        form.fields["quota"].queryset = quotas  # type: ignore[attr-defined]
        if not quotas.exists() or (vm.quota_id is not None and not quotas.filter(pk=vm.quota_id).exists()):
            del form.fields["quota"]  # it stays in a quota that is not this user's to change
        return form

    def changes(self) -> dict[str, Any]:
        """What differs from what the form showed."""
        data = dict(self.cleaned_data)
        data["tags"] = [tag.strip() for tag in data["tags"].split(",") if tag.strip()]
        return {name: data[name] for name in self.changed_data}


class RunOnceForm(forms.Form):
    iso = forms.ModelChoiceField(Disk.objects.none(), required=False, empty_label="none", label="Boot from ISO")
    paused = forms.BooleanField(required=False, label="Start paused")

    def __init__(self, user: User, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["iso"].queryset = Disk.objects.visible_to(user).filter(content=DiskContent.ISO, status=DiskStatus.OK)  # type: ignore[attr-defined]


class TemplateForm(forms.Form):
    name = forms.CharField(max_length=255)
    description = forms.CharField(required=False, max_length=4000)


class RemoveVmForm(forms.Form):
    """Typing the name is asked only where data is lost for good."""

    disks = forms.ChoiceField(
        choices=[("delete", "Delete its disks"), ("keep", "Keep its disks")], initial="delete", widget=forms.RadioSelect
    )
    confirm_name = forms.CharField(required=False, label="Name of the VM", widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, vm: VM, has_disks: bool, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.vm, self.has_disks = vm, has_disks
        if not has_disks:
            del self.fields["disks"], self.fields["confirm_name"]
        else:
            self.fields["confirm_name"].help_text = format_html("Type <strong>{}</strong> to delete its disks for good.", vm.name)

    @property
    def keeps_disks(self) -> bool:
        return not self.has_disks or self.cleaned_data["disks"] == "keep"

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.has_disks and data.get("disks") == "delete" and data.get("confirm_name", "").strip() != self.vm.name:
            self.add_error("confirm_name", "This is not the VM's name.")
        return data
