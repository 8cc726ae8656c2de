"""What becomes of an OVA."""

from django import forms

from accounts.models import User
from accounts.quotas.models import Quota
from hosts.models import Cluster
from networks.models import Network
from storage.models import StorageDomain, StorageStatus


class OvaForm(forms.Form):
    name = forms.CharField(max_length=255)
    cluster = forms.ModelChoiceField(Cluster.objects.none(), empty_label=None)
    domain = forms.ModelChoiceField(StorageDomain.objects.none(), empty_label=None, label="Storage domain")
    network = forms.ModelChoiceField(Network.objects.none(), required=False, empty_label="none: its NICs stay unplugged")
    virtio = forms.BooleanField(
        required=False,
        label="VirtIO disks and NICs",
        help_text="Fast, and known to nearly every Linux. Without it: SATA and e1000e, which Windows knows without further drivers.",
    )
    quota = forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="none, or your only one", label="Counts against quota")
    start = forms.BooleanField(required=False, label="Run it once it is made")

    def __init__(self, user: User, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        quotas = Quota.objects.usable_by(user)
        rows = {
            "cluster": Cluster.objects.visible_to(user, "vm.create"),
            "domain": StorageDomain.objects.visible_to(user, "disk.create").filter(status=StorageStatus.ACTIVE),
            "network": Network.objects.visible_to(user, "network.use"),
            "quota": quotas,
        }
        for name, found in rows.items():
            self.fields[name].queryset = found  # type: ignore[attr-defined]
        if not quotas.exists():
            del self.fields["quota"]
