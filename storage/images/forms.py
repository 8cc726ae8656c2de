"""Forms of the image library."""

from django import forms

from storage.forms import IntoFilesForm, quota_field
from storage.models import StorageDomain

_FORMATS = [("qcow2", "qcow2: takes space as it is written"), ("raw", "raw: fastest, no conversion when it is used")]
_ACCEPT = ".iso,.img,.raw,.qcow2,.vmdk,.vdi,.vhdx,.ova"


class _Into(IntoFilesForm):
    domain = forms.ModelChoiceField(StorageDomain.objects.none(), empty_label=None, label="Storage domain")
    name = forms.CharField(max_length=255, required=False, help_text="The file's own name when empty.")
    to_format = forms.ChoiceField(
        choices=_FORMATS, label="Keep as", help_text="Disks are converted where needed; ISO images stay as they are."
    )
    sha256 = forms.CharField(
        max_length=200, required=False, label="SHA-256", help_text="Compared with the file when given: an image that is damaged is refused."
    )
    quota = quota_field()


class UploadForm(_Into):
    field_order = ("file", "domain")
    file = forms.FileField(
        label="File",
        widget=forms.FileInput(attrs={"accept": _ACCEPT}),
        help_text="ISO, qcow2, raw, VMDK, VDI or VHDX; or an OVA, which becomes a VM.",
    )


class UrlForm(_Into):
    field_order = ("url", "domain")
    url = forms.CharField(
        max_length=2000,
        label="URL",
        widget=forms.URLInput(attrs={"placeholder": "https://", "autocomplete": "off"}),
        help_text="Fetched by the portal, from the public Internet and what its administrator permits.",
    )
