"""Forms of VMs. They read and shape; vms.services decides."""

import json
from collections.abc import Collection
from typing import Any

from django import forms
from django.utils.html import format_html

from accounts.models import User
from accounts.permissions import allowed
from accounts.quotas.models import Quota
from hosts.models import Cluster
from networks.models import Network
from portal.forms import Cards, SizeField
from portal.templatetags.vireo import mib
from storage.kinds import MAKING
from storage.models import Disk, DiskContent, DiskStatus, StorageDomain, StorageStatus
from vms.costs import attributes_of
from vms.guest.settings import SetUpBy
from vms.models import VM, Firmware, InstanceType, Priority, Template
from vms.template_services import latest

AS_TEMPLATE, OWN_NUMBERS = "As the template says", "My own numbers"


def with_older(context: dict[str, Any]) -> dict[str, Any]:
    """A widget's context with the cards of older versions apart, and whether one of them is chosen."""
    older = [option for _group, options, _index in context["widget"]["optgroups"] for option in options if option.get("older")]
    context["widget"] |= {"older": older, "older_chosen": any(option["selected"] for option in older)}
    return context


class TemplateChoice(forms.RadioSelect):
    """Cards; a chosen template fills memory and CPUs in."""

    template_name = "vms/template_choice.html"
    option_template_name = "django/forms/widgets/radio_option.html"
    # Ids of the newest versions; older ones stand folded below them.
    newest: Collection[Any] = ()

    def get_context(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        return with_older(super().get_context(*arguments, **options))

    def create_option(
        self, name: str, value: Any, label: Any, selected: Any, index: int, subindex: int | None = None, attrs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        option = super().create_option(name, value, label, selected, index, subindex, attrs)
        template = getattr(value, "instance", None)
        option["subject"] = template
        option["older"] = template is not None and template.pk not in self.newest
        defaults = (
            {"memory_mib": f"{template.memory_mib} MiB", "vcpus": template.vcpus} if template else {"memory_mib": "512 MiB", "vcpus": 1}
        )
        option["attrs"] |= {"data-defaults": json.dumps(defaults), "data-label": template.name if template else "Blank"}
        option["attrs"] |= attributes_of(template) | {"data-set-up-by": template.set_up_by if template else "none"}
        return option


class SizeCards(Cards):
    template_name = "vms/size_cards.html"

    def cost_of(self, subject: Any) -> dict[str, str]:
        if subject is None:
            return {}
        cost = {"vcpus": subject.vcpus, "memory_mib": subject.memory_mib}
        return {"data-cost": json.dumps(cost), "data-fills": json.dumps(cost | {"memory_mib": mib(subject.memory_mib)})}

    def summary_of(self, subject: Any) -> str:
        return f"{subject.name}: {subject.vcpus} CPU, {mib(subject.memory_mib)}" if subject is not None else AS_TEMPLATE


def usable(user: User) -> Any:
    """Templates that the user may use and that are ready, the newest version of each name first."""
    found = Template.objects.visible_to(user, "template.use").exclude(disks__status=DiskStatus.LOCKED)
    return found.prefetch_related("disks").order_by("name", "-version")


class NewVmForm(forms.Form):
    template = forms.ModelChoiceField(Template.objects.none(), required=False, blank=True, empty_label="Blank", widget=TemplateChoice)
    name = forms.CharField(max_length=255, widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True, "spellcheck": "false"}))
    size = forms.ModelChoiceField(InstanceType.objects.all(), required=False, blank=True, empty_label=OWN_NUMBERS, widget=SizeCards)
    memory_mib = SizeField(label="Memory", mib=True, initial="512 MiB", help_text="For example 512 MiB or 4G.")
    vcpus = forms.IntegerField(label="Virtual CPUs", min_value=1, max_value=512, initial=1)
    cluster = forms.ModelChoiceField(Cluster.objects.none(), empty_label=None)
    network = forms.ModelChoiceField(Network.objects.none(), required=False, empty_label="the cluster's first")
    storage_domain = forms.ModelChoiceField(StorageDomain.objects.none(), required=False, empty_label="chosen for you")
    full_copy = forms.TypedChoiceField(
        choices=[("", "Thin: made at once, and depend on the template"), ("full", "Full copies: take longer, and depend on nothing")],
        coerce=bool,
        empty_value=False,
        required=False,
        label="Disks from a template",
    )
    disk_bytes = SizeField(label="Disk of a blank VM", required=False, unit="g", initial="8 GiB")
    iso = forms.ModelChoiceField(Disk.objects.none(), required=False, empty_label="none", label="Boot from ISO")
    firmware = forms.ChoiceField(choices=Firmware.choices, initial=Firmware.BIOS, label="Firmware of a blank VM")
    quota = forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="none, or your only one", label="Counts against quota")
    description = forms.CharField(required=False, max_length=4000)
    start = forms.BooleanField(required=False, initial=True, label="Run it when it is ready")

    FIRST = ("name", "size", "memory_mib", "vcpus")
    MORE = ("cluster", "network", "storage_domain", "full_copy", "disk_bytes", "iso", "firmware", "quota", "description")

    def __init__(self, user: User, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        templates = usable(user)
        self.choices_of("template", templates)
        self.fields["template"].widget.newest = latest(templates)  # type: ignore[attr-defined]
        self.choices_of("cluster", Cluster.objects.visible_to(user, "vm.create"))
        self.choices_of("network", Network.objects.visible_to(user, "network.use"))
        domains = StorageDomain.objects.visible_to(user, "storage_domain.use").filter(status=StorageStatus.ACTIVE, kind__in=MAKING)
        self.choices_of("storage_domain", domains)
        self.choices_of("quota", Quota.objects.usable_by(user))
        if not self.fields["quota"].queryset.exists():  # type: ignore[attr-defined]
            del self.fields["quota"]
        if not self.fields["size"].queryset.exists():  # type: ignore[attr-defined]
            del self.fields["size"]
        self.choices_of("iso", Disk.objects.visible_to(user).filter(content=DiskContent.ISO, status=DiskStatus.OK))

    def choices_of(self, name: str, rows: Any) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """A chosen size says memory and CPUs, whatever stands in their fields."""
        data = super().clean() or {}
        size = data.pop("size", None)
        for name in ("memory_mib", "vcpus") if size is not None else ():
            self.errors.pop(name, None)
            data[name] = getattr(size, name)
        return data

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
    highly_available = forms.BooleanField(
        required=False,
        label="Highly available",
        help_text="It runs again by itself: elsewhere once its host is known to be off, and in place after a crash.",
    )
    priority = forms.TypedChoiceField(
        choices=Priority.choices, coerce=int, help_text="Who is started first, and moved last, when there is not room or time for all."
    )
    restart_by_lease = forms.BooleanField(
        required=False,
        label="Its disks' locks may decide",
        help_text="It also runs elsewhere when its host is silent and could not be fenced, but only once its disks are open nowhere.",
    )

    quota = forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="none", label="Counts against quota")

    @classmethod
    def of(cls, user: User, vm: VM, data: Any = None) -> "EditVmForm":
        asked = {field: vm.next_run.get(field, getattr(vm, field)) for field in ("memory_mib", "vcpus", "firmware")}
        initial = {
            "name": vm.name,
            "description": vm.description,
            "tags": ", ".join(vm.tags),
            "delete_protected": vm.delete_protected,
            "highly_available": vm.highly_available,
            "priority": vm.priority,
            "restart_by_lease": vm.restart_by_lease,
            "quota": vm.quota_id,
        } | asked
        form = cls(data, initial=initial)
        if not allowed(user, "vm.migrate", vm):
            for name in ("highly_available", "priority", "restart_by_lease"):
                del form.fields[name]
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
    """A template of a VM: one of its own name, or the next version of another."""

    version_of = forms.ModelChoiceField(
        Template.objects.none(),
        required=False,
        empty_label="a template of its own",
        label="Make it",
        help_text="Or the next version of one.",
    )
    name = forms.CharField(max_length=255, required=False, help_text="A version has the name of its template.")
    description = forms.CharField(required=False, max_length=4000)

    def __init__(self, user: User, vm: VM, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        rows = Template.objects.visible_to(user, "template.edit").filter(data_center=vm.cluster.data_center_id)
        self.fields["version_of"].queryset = rows.filter(pk__in=latest(rows))  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("version_of") is None and not data.get("name", "").strip():
            self.add_error("name", "Give a name.")
        return data


class EditTemplateForm(forms.Form):
    name = forms.CharField(max_length=255, help_text="All its versions have the same.")
    description = forms.CharField(required=False, max_length=4000)
    memory_mib = SizeField(label="Memory", mib=True)
    vcpus = forms.IntegerField(label="Virtual CPUs", min_value=1, max_value=512)
    os = forms.CharField(required=False, max_length=64, label="Operating system")
    set_up_by = forms.ChoiceField(
        choices=SetUpBy.choices,
        label="Guests are set up by",
        help_text="VMs made of it get a CD for this program, with their creator's SSH keys where nobody says otherwise.",
    )


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
