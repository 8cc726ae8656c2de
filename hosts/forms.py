"""Forms of hosts, clusters and data centers."""

from django import forms

from accounts.models import User
from hosts.models import Balancing, Cluster, DataCenter, MigrationPolicy, SchedulingPolicy


class NewHostForm(forms.Form):
    name = forms.CharField(max_length=255, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    address = forms.CharField(max_length=255, help_text="Name or IP address at which Vireo reaches it.")
    cluster = forms.ModelChoiceField(Cluster.objects.none(), empty_label=None)
    transport = forms.ChoiceField(
        choices=[
            ("tls", "a command pasted on the host: installs libvirt and a certificate (recommended)"),
            ("ssh", "SSH with Vireo's key"),
        ],
        label="Connect by",
        widget=forms.RadioSelect,
        initial="tls",
    )
    ssh_user = forms.CharField(max_length=64, required=False, initial="root", label="SSH user", help_text="For SSH alone.")
    description = forms.CharField(max_length=4000, required=False)

    def __init__(self, user: User, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.fields["cluster"].queryset = Cluster.objects.visible_to(user, "host.create")  # type: ignore[attr-defined]


class EditHostForm(forms.Form):
    name = forms.CharField(max_length=255)
    address = forms.CharField(max_length=255)
    description = forms.CharField(max_length=4000, required=False)


class MaintenanceForm(forms.Form):
    shut_down = forms.BooleanField(label="Shut down the VMs that cannot move", required=False)


class ClusterForm(forms.Form):
    name = forms.CharField(max_length=255)
    cpu_model = forms.CharField(
        max_length=64, initial="qemu64", label="CPU model", help_text="Every VM of the cluster sees this CPU, so that it runs on each host."
    )
    description = forms.CharField(max_length=4000, required=False)
    data_center = forms.ModelChoiceField(DataCenter.objects.none(), empty_label=None)

    def __init__(self, user: User, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.fields["data_center"].queryset = DataCenter.objects.visible_to(user, "cluster.create")  # type: ignore[attr-defined]


class EditClusterForm(forms.Form):
    name = forms.CharField(max_length=255)
    cpu_model = forms.CharField(max_length=64, label="CPU model", help_text="VMs get another one when they next start.")
    policy = forms.ModelChoiceField(
        SchedulingPolicy.objects.all(), required=False, empty_label="Even, unless said otherwise", label="Scheduling policy"
    )
    migration_policy = forms.ModelChoiceField(
        MigrationPolicy.objects.all(), required=False, empty_label="Careful, unless said otherwise", label="Migration policy"
    )
    migrations_per_host = forms.IntegerField(min_value=1, max_value=64, label="Migrations of a host at the same time")
    migrations_at_once = forms.IntegerField(min_value=1, max_value=1024, label="Migrations of the cluster at the same time")
    balancing = forms.ChoiceField(
        choices=Balancing.choices,
        label="VMs are moved to balance the cluster",
        help_text="By itself: as the policy wants it, within the limits below; never while a host is silent, fenced or emptied.",
    )
    moves_per_hour = forms.IntegerField(min_value=1, max_value=1000, label="Moves by itself within an hour")
    minimal_gain = forms.IntegerField(
        min_value=1, max_value=100, label="Least gain of a move", help_text="Percent points by which it brings two hosts closer. A policy that packs empties whole hosts instead."
    )
    description = forms.CharField(max_length=4000, required=False)


class DataCenterForm(forms.Form):
    name = forms.CharField(max_length=255)
    description = forms.CharField(max_length=4000, required=False)
