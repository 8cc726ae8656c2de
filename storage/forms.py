"""Forms of storage domains and disks."""

from django import forms

from accounts.models import User
from accounts.quotas.models import Quota
from hosts.models import DataCenter
from portal.forms import SizeField
from storage.models import StorageDomain, StorageKind, StorageStatus


class DomainForm(forms.Form):
    name = forms.CharField(max_length=255)
    data_center = forms.ModelChoiceField(DataCenter.objects.none(), empty_label=None)
    kind = forms.ChoiceField(choices=StorageKind.choices, widget=forms.RadioSelect, initial=StorageKind.LOCAL_DIR)
    path = forms.CharField(max_length=1024, help_text="The directory on the hosts. A shared one must be the same directory on every host.")
    description = forms.CharField(max_length=4000, required=False)

    def __init__(self, user: User, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.fields["data_center"].queryset = DataCenter.objects.visible_to(user, "storage_domain.create")  # type: ignore[attr-defined]


class _InDomain(forms.Form):
    def __init__(self, user: User, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        domains = StorageDomain.objects.visible_to(user, "disk.create").filter(status=StorageStatus.ACTIVE)
        self.fields["domain"].queryset = domains  # type: ignore[attr-defined]
        quotas = Quota.objects.usable_by(user)
        self.fields["quota"].queryset = quotas  # type: ignore[attr-defined]
        if not quotas.exists():
            del self.fields["quota"]


def _quota_field() -> forms.ModelChoiceField:
    return forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="none, or your only one", label="Counts against quota")


class DiskForm(_InDomain):
    name = forms.CharField(max_length=255)
    capacity_bytes = SizeField(label="Size", unit="g", initial="10 GiB")
    domain = forms.ModelChoiceField(StorageDomain.objects.none(), empty_label=None, label="Storage domain")
    quota = _quota_field()
    description = forms.CharField(max_length=4000, required=False)


class IsoForm(_InDomain):
    file = forms.FileField(label="ISO image", widget=forms.ClearableFileInput(attrs={"accept": ".iso,application/x-iso9660-image"}))
    name = forms.CharField(max_length=255, required=False, help_text="The file's own name when empty.")
    domain = forms.ModelChoiceField(StorageDomain.objects.none(), empty_label=None, label="Storage domain")
    quota = _quota_field()
