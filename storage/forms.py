"""Forms of disks."""

from django import forms

from accounts.models import User
from accounts.quotas.models import Quota
from portal.forms import SizeField
from storage.kinds import KEEPING_FILES, MAKING
from storage.models import StorageDomain, StorageStatus


def quota_field() -> forms.ModelChoiceField:
    return forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="none, or your only one", label="Counts against quota")


class InDomainForm(forms.Form):
    """With `domain` and `quota`: the user's own, and the domains that can take what is made."""

    kinds = MAKING

    def __init__(self, user: User, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        domains = StorageDomain.objects.visible_to(user, "disk.create").filter(status=StorageStatus.ACTIVE, kind__in=self.kinds)
        self.fields["domain"].queryset = domains  # type: ignore[attr-defined]
        quotas = Quota.objects.usable_by(user)
        self.fields["quota"].queryset = quotas  # type: ignore[attr-defined]
        if not quotas.exists():
            del self.fields["quota"]


class IntoFilesForm(InDomainForm):
    """Where files are brought as they are, and not only to be written block by block."""

    kinds = KEEPING_FILES


class DiskForm(InDomainForm):
    name = forms.CharField(max_length=255)
    capacity_bytes = SizeField(label="Size", unit="g", initial="10 GiB")
    domain = forms.ModelChoiceField(StorageDomain.objects.none(), empty_label=None, label="Storage domain")
    quota = quota_field()
    description = forms.CharField(max_length=4000, required=False)
