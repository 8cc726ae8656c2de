"""Forms of the portal. They offer only what the grants allow; the services refuse the rest again."""

from collections.abc import Collection, Sequence
from typing import Any

from django import forms

from accounts.models import User
from accounts.quotas.models import Quota
from hosts.models import Cluster
from networks.models import Network
from portal.forms import Cards, SizeField
from storage.models import DiskStatus
from vms.costs import attributes_of
from vms.forms import AS_TEMPLATE, OWN_NUMBERS, SizeCards, with_older
from vms.guest.settings import FirstBoot
from vms.models import InstanceType, Template
from vms.services import NewVm
from vms.template_services import latest


class TemplateCards(Cards):
    template_name = "selfservice/template_cards.html"

    clusters: Sequence[Cluster] = ()
    newest: Collection[Any] = ()  # ids of the newest versions; older ones stand folded below them

    def get_context(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        return with_older(super().get_context(*arguments, **options))

    def create_option(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        option = super().create_option(*arguments, **options)
        option["older"] = option["subject"] is not None and option["subject"].pk not in self.newest
        return option

    def cost_of(self, subject: Any) -> dict[str, str]:
        where = cluster_for(subject, self.clusters) if subject is not None else None
        set_up_by = subject.set_up_by if subject is not None else "none"
        return attributes_of(subject) | {"data-cluster": str(where.pk) if where else "", "data-set-up-by": set_up_by}


class NewMachineForm(forms.Form):
    """Few fields: what it starts from, its name, its size; where it runs only when there is a choice."""

    template = forms.ModelChoiceField(Template.objects.none(), empty_label=None, label="Start from", widget=TemplateCards)
    name = forms.CharField(max_length=255, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))
    size = forms.ModelChoiceField(InstanceType.objects.none(), required=False, blank=True, empty_label=AS_TEMPLATE, widget=SizeCards)
    cluster = forms.ModelChoiceField(Cluster.objects.none(), required=False, empty_label="chosen for you", label="Where it runs")
    network = forms.ModelChoiceField(Network.objects.none(), required=False, empty_label="chosen for you")
    quota = forms.ModelChoiceField(Quota.objects.none(), required=False, empty_label="the only one that fits", label="Counts against")

    def __init__(self, user: User, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.clusters = list(Cluster.objects.visible_to(user, "vm.create").order_by("name"))
        self.fields["template"].widget.clusters = self.clusters  # type: ignore[attr-defined]
        templates = usable_templates(user, self.clusters)
        networks = Network.objects.visible_to(user, "network.use").filter(cluster__in=self.clusters)
        self._offer("template", templates)
        self.fields["template"].widget.newest = latest(templates)  # type: ignore[attr-defined]
        self._offer("size", InstanceType.objects.all())
        self._offer("cluster", Cluster.objects.filter(pk__in=[cluster.pk for cluster in self.clusters]))
        self._offer("network", networks.select_related("cluster"))
        if len(self.clusters) < 2:
            del self.fields["cluster"]
        if networks.count() < 2:
            del self.fields["network"]
        quotas = Quota.objects.filter(data_center__clusters__in=self.clusters).held_by(user).distinct()
        self._offer("quota", quotas)
        if quotas.count() < 2:
            del self.fields["quota"]

    def _offer(self, name: str, rows: Any) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]

    @property
    def place_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("cluster", "network", "quota") if name in self.fields]

    def wanted(self, first_boot: FirstBoot | None = None) -> NewVm:
        """What the service is asked for. Raises nothing: what does not fit together is the service's to refuse."""
        data = self.cleaned_data
        template, size = data["template"], data["size"]
        network = data.get("network")
        cluster = data.get("cluster") or (network.cluster if network else cluster_for(template, self.clusters) or self.clusters[0])
        return NewVm(
            name=data["name"],
            cluster=cluster,
            template=template,
            memory_mib=(size or template).memory_mib,
            vcpus=(size or template).vcpus,
            network=network,
            quota=data.get("quota"),
            first_boot=first_boot,
            start=True,
        )


def cluster_for(template: Template, clusters: Sequence[Cluster]) -> Cluster | None:
    """Where a machine of the template goes when nobody chooses: the first cluster of its data center."""
    return next((cluster for cluster in clusters if cluster.data_center_id == template.data_center_id), None)


def usable_templates(user: User, clusters: list[Cluster]) -> Any:
    """Templates that the user may use where they may create, and that are ready."""
    places = {cluster.data_center_id for cluster in clusters}
    found = Template.objects.visible_to(user, "template.use").filter(data_center__in=places)
    return found.exclude(disks__status=DiskStatus.LOCKED).prefetch_related("disks").order_by("name", "-version")


class ResizeForm(forms.Form):
    """An instance type, or numbers of one's own."""

    size = forms.ModelChoiceField(InstanceType.objects.all(), required=False, blank=True, empty_label=OWN_NUMBERS, widget=SizeCards)
    vcpus = forms.IntegerField(label="Virtual CPUs", min_value=1, max_value=512, required=False)
    memory_mib = SizeField(label="Memory", mib=True, required=False, help_text="For example 512 MiB or 4G.")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("size") is None:
            for name in ("vcpus", "memory_mib"):
                if data.get(name) is None and name not in self.errors:
                    self.add_error(name, "Choose a size above, or write a number here.")
        return data

    def changes(self) -> dict[str, int]:
        size = self.cleaned_data["size"]
        if size is not None:
            return {"vcpus": size.vcpus, "memory_mib": size.memory_mib}
        return {"vcpus": self.cleaned_data["vcpus"], "memory_mib": self.cleaned_data["memory_mib"]}
