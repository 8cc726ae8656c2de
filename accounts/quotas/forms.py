"""Forms of quotas: a table of limits, a row for the data center and one for each place in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms

from accounts.forms import NameField
from accounts.models import Group, User
from accounts.quotas.models import MOST_GRACE, Quota, Resource
from accounts.quotas.services import LimitKey
from hosts.models import DataCenter
from portal.forms import SizeField

COMPUTE = (Resource.VMS, Resource.VCPUS, Resource.MEMORY, Resource.SNAPSHOTS)


@dataclass(frozen=True)
class Place:
    """A row of the table: the whole data center, a cluster or a storage domain."""

    name: str
    pk: UUID | None
    resources: tuple[Resource, ...]


class QuotaForm(forms.Form):
    """An empty limit is no limit."""

    name = forms.CharField(max_length=255)
    description = forms.CharField(max_length=4000, required=False)
    compute_threshold = forms.IntegerField(label="Warn above (%), CPU and memory", min_value=0, max_value=100, initial=80)
    compute_grace = forms.IntegerField(label="Grace (%), CPU and memory", min_value=0, max_value=MOST_GRACE, initial=0)
    storage_threshold = forms.IntegerField(label="Warn above (%), storage", min_value=0, max_value=100, initial=80)
    storage_grace = forms.IntegerField(label="Grace (%), storage", min_value=0, max_value=MOST_GRACE, initial=0)

    PLAIN = ("name", "description", "compute_threshold", "compute_grace", "storage_threshold", "storage_grace")

    def __init__(self, data_center: DataCenter, data: Any = None, quota: Quota | None = None) -> None:
        self.places = _places(data_center)
        initial: dict[str, Any] = {}
        if quota is not None:
            initial = {name: getattr(quota, name) for name in self.PLAIN}
            for limit in quota.limits.all():
                initial[_field(Resource(limit.resource), limit.cluster_id or limit.storage_domain_id)] = limit.amount
        super().__init__(data, initial=initial)
        for place in self.places:
            for resource in place.resources:
                self.fields[_field(resource, place.pk)] = _amount_field(resource, place.name)

    @property
    def plain_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.PLAIN]

    @property
    def table(self) -> Iterator[tuple[str, list[forms.BoundField | None]]]:
        """Rows of the page's table, in the order of its columns."""
        for place in self.places:
            yield place.name, [self[_field(each, place.pk)] if each in place.resources else None for each in Resource]

    def limits(self) -> dict[LimitKey, int]:
        found: dict[LimitKey, int] = {}
        for place in self.places:
            for resource in place.resources:
                amount = self.cleaned_data[_field(resource, place.pk)]
                if amount is not None:
                    found[resource, place.pk] = amount
        return found

    def values(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in self.PLAIN}


class HolderForm(forms.Form):
    user = NameField(User.objects.filter(is_active=True), "username", "user-names")
    group = NameField(Group.objects.all(), "name", "group-names")


def _field(resource: Resource, place: UUID | None) -> str:
    return f"{resource}-{place}" if place else str(resource)


def _places(data_center: DataCenter) -> list[Place]:
    rows = [Place("Whole data center", None, tuple(Resource))]
    rows += [Place(cluster.name, cluster.pk, COMPUTE) for cluster in data_center.clusters.order_by("name")]
    return rows + [Place(domain.name, domain.pk, (Resource.STORAGE,)) for domain in data_center.storage_domains.order_by("name")]


def _amount_field(resource: Resource, place: str) -> forms.Field:
    label = {"aria-label": f"{resource.label}, {place}", "placeholder": "no limit", "title": resource.label}
    field: forms.Field
    if resource in (Resource.VMS, Resource.VCPUS, Resource.SNAPSHOTS):
        field = forms.IntegerField(required=False, min_value=0, max_value=10**6)
    else:
        field = SizeField(required=False, mib=resource == Resource.MEMORY, unit="g")
    field.widget.attrs.update(label)
    return field
