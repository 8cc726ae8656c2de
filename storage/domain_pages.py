"""Pages of storage domains."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import anywhere, effective, require
from accounts.views.grants import described_grants
from hosts.models import Cluster, Host
from jobs.engine import holder_of
from portal.pages import lists
from portal.pages.actions import REFUSALS, answer, entries, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page
from storage import can, domains, imports
from storage.disks import strays
from storage.domain_forms import ConnectionForm, DestroyForm, DomainForm, EditDomainForm
from storage.kinds import KINDS
from storage.models import Disk, FoundVolume, StorageDomain
from storage.pages import find
from storage.space import Space
from vms.records.models import RecordsKept

SHOWN_DISKS = 100
SHOWN_FOUND = 500
DOMAINS = lists.ListPage(
    title="Storage domains",
    row_template="storage/row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("status", "Status", "status", lambda row: row.status),
        lists.Column("kind", "Kind", "kind", lambda row: row.kind),
        lists.Column("used", "In use", "", lambda row: row.used_bytes),
        lists.Column("free", "Free", "available_bytes", lambda row: row.available_bytes, "v-num"),
        lists.Column("size", "Size", "capacity_bytes", lambda row: row.capacity_bytes, "v-num"),
        lists.Column("promised", "Promised", "promised", lambda row: row.promised, "v-num"),
        lists.Column("disks", "Disks", "disk_count", lambda row: row.disk_count, "v-num"),
    ),
    empty=lists.Empty(
        "database",
        "No storage yet",
        "A storage domain is where the disks of VMs lie: a directory on each host, or storage that all hosts share.",
    ),
    live="storage_domain disk",
    filters={
        "name": FilterField("name"),
        "status": FilterField("status", "choice"),
        "kind": FilterField("kind", "choice"),
        "space": FilterField("space_level", "choice"),
    },
    hint="kind:nfs space:low",
)
_VERBS = {
    "activate": domains.activate_domain,
    "maintenance": domains.maintain_domain,
    "attach": domains.attach_domain,
    "detach": domains.detach_domain,
    "scan": domains.scan_domain,
    "locks": domains.try_locks,
    "remove": domains.remove_domain,
}


def with_totals(rows: QuerySet[StorageDomain]) -> QuerySet[StorageDomain]:
    """Each with `disk_count` and `promised`: a subquery of its own for each, so that grants joined to the rows multiply nothing."""
    disks = Disk.objects.filter(domain=OuterRef("pk")).order_by().values("domain")
    return rows.annotate(
        disk_count=Coalesce(Subquery(disks.annotate(n=Count("pk")).values("n")), 0),
        promised=Coalesce(Subquery(disks.annotate(n=Sum("capacity_bytes")).values("n")), 0),
    )


@require_GET
def domain_list(request: HttpRequest) -> HttpResponse:
    rows = with_totals(StorageDomain.objects.visible_to(request.user))
    may = "storage_domain.create" in anywhere(request.user)
    return lists.show(
        request, DOMAINS, rows, buttons=[{"url": reverse("storage:new"), "title": "New storage domain", "icon": "plus", "allowed": may}]
    )


def _entries(domain: StorageDomain, permissions: frozenset[str], disks: int, *quick: str) -> list[Any]:
    verdicts = can.domain_verdicts(domain, permissions, busy=holder_of(domain), disks=disks)
    opens = {"upload": reverse("storage:upload-image"), "create-disk": reverse("storage:new-disk")}
    opens |= {name: reverse(f"storage:{name}", args=[domain.pk]) for name in ("edit", "reconnect", "take-in", "destroy")}
    confirm = {
        "remove": f"{domain.name} is taken from every host. What lies on the storage stays there.",
        "detach": f"{domain.name} is taken from every host. Vireo remembers its disks, for when it is attached again.",
        "maintenance": f"No VM can use the disks in {domain.name} until it is activated again.",
    }
    return entries(
        can.DOMAIN_ACTIONS,
        verdicts,
        lambda name: reverse("storage:action", args=[domain.pk, name]),
        opens=opens,
        confirm=confirm,
        quick=quick or ("activate", "attach", "create-disk" if domain.traits.makes else "scan"),
    )


@require_GET
def domain_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    find(request, StorageDomain, pk)
    domain = with_totals(StorageDomain.objects.select_related("data_center")).get(pk=pk)
    permissions = effective(request.user, domain)
    disks = Disk.objects.visible_to(request.user).filter(domain=domain).select_related("host")
    may_edit = "storage_domain.edit" in permissions
    context = {
        "domain": domain,
        "space": Space(domain.capacity_bytes, domain.available_bytes, domain.promised),  # type: ignore[attr-defined]
        "connection": [(field.label, domain.source.get(field.name)) for field in domain.traits.fields if field.name in domain.source],
        "entries": _entries(domain, permissions, domain.disk_count),  # type: ignore[attr-defined]
        "views": domain.on_hosts.filter(host__in=Host.objects.visible_to(request.user)).select_related("host").order_by("host__name"),
        "disks": disks[:SHOWN_DISKS],
        "shown_disks": SHOWN_DISKS,
        "found": domain.found.count() if may_edit else 0,
        "found_vms": domain.found_vms.count() if may_edit else 0,
        "records": RecordsKept.objects.filter(pk=pk).first(),
        "permissions": permissions,
        "grants": described_grants(obj=domain) if "grant.view" in permissions else None,
        "obj": domain,
    }
    return render(request, "storage/detail.html", context)


@require_POST
def action(request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
    domain = find(request, StorageDomain, pk)
    if name not in _VERBS:
        raise Http404("There is no such action.")
    try:
        job = _VERBS[name](request.user, domain)
    except REFUSALS as error:
        return refuse(request, domain.get_absolute_url(), error)
    return answer(request, domain.get_absolute_url() if name != "remove" else reverse("storage:list"), f"{job.title}: asked for.", job)


def new(request: HttpRequest) -> HttpResponse:
    """First the kind, then what that kind asks for."""
    if "storage_domain.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create storage domains.")
    kind = KINDS.get(request.POST.get("kind") or request.GET.get("kind") or "")
    if kind is None:
        return render(request, "storage/kinds.html", {"kinds": KINDS.values()}, status=422 if request.method == "POST" else 200)
    form = DomainForm(request.user, kind, request.POST or None)
    return form_page(
        request,
        form,
        lambda data: redirect(domains.create_domain(request.user, domains.NewDomain(kind=kind.key, **form.split(data)))[0]),
        title=f"New storage domain: {kind.title}",
        text=f"{kind.summary} {kind.needs}".strip(),
        verb="Check and create",
        back=reverse("storage:new"),
        back_title="New storage domain",
    )


def edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    domain = find(request, StorageDomain, pk)
    require(request.user, "storage_domain.edit", domain)
    form = EditDomainForm(request.POST or None, initial={name: getattr(domain, name) for name in EditDomainForm.base_fields})
    return form_page(
        request,
        form,
        lambda data: redirect(domains.edit_domain(request.user, domain, data)),
        title=f"Edit {domain.name}",
        verb="Save",
        back=domain.get_absolute_url(),
        back_title=domain.name,
    )


def reconnect(request: HttpRequest, pk: UUID) -> HttpResponse:
    domain = find(request, StorageDomain, pk)
    require(request.user, "storage_domain.edit", domain)
    form = ConnectionForm(
        domain.traits, request.POST or None, initial={**domain.source, "path": domain.path}, has_secret=bool(domain.secret)
    )
    return form_page(
        request,
        form,
        lambda data: redirect(domains.reconnect_domain(request.user, domain, data.pop("path", ""), data)),
        title=f"Connection of {domain.name}",
        text="Where it lies can be changed while no host has it. Attach it afterwards.",
        verb="Save",
        back=domain.get_absolute_url(),
        back_title=domain.name,
    )


def destroy(request: HttpRequest, pk: UUID) -> HttpResponse:
    domain = find(request, StorageDomain, pk)
    require(request.user, "storage_domain.delete", domain)
    form = DestroyForm(domain.name, request.POST or None)

    def run(data: dict[str, Any]) -> HttpResponse:
        job = domains.destroy_domain(request.user, domain, data["confirm_name"])
        return answer(request, reverse("storage:list"), f"{job.title}: asked for.", job)

    return form_page(
        request,
        form,
        run,
        title=f"Destroy {domain.name}",
        text=f"Vireo forgets {domain.name}, its disks and the templates made of them, and takes the disks from the VMs that have them. "
        "Nothing on the storage is touched: this is for storage that is lost for good.",
        verb="Destroy",
        verb_class="v-button-danger",
        back=domain.get_absolute_url(),
        back_title=domain.name,
    )


@require_POST
def delete_found(request: HttpRequest, pk: UUID, row: int) -> HttpResponse:
    """Deletes a volume that a scan found and that nobody owns."""
    domain = find(request, StorageDomain, pk)
    found = FoundVolume.objects.select_related("domain").filter(pk=row, domain=domain).first()
    if found is None:
        raise Http404("There is no such volume.")
    back = reverse("storage:take-in", args=[pk])
    try:
        job = strays.remove(request.user, found)  # type: ignore[arg-type]
    except REFUSALS as error:
        return refuse(request, back, error)
    return answer(request, back, f"{job.title}: asked for.", job)


def take_in(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What the last scan found, to choose from."""
    domain = find(request, StorageDomain, pk)
    require(request.user, "storage_domain.edit", domain)
    error = ""
    if request.method == "POST":
        chosen = [int(key) for key in request.POST.getlist("volume") if key.isdecimal() and len(key) < 19]
        try:
            imports.take_in(request.user, domain, chosen)
            return redirect(domain)
        except REFUSALS as refused:
            error = str(refused)
    found = domain.found.select_related("host").order_by("refusal", "name")
    context = {
        "domain": domain,
        "vms": domain.found_vms.order_by("refusal", "name")[:SHOWN_FOUND],
        "clusters": Cluster.objects.visible_to(request.user, "vm.create").filter(data_center=domain.data_center_id),
        "found": found[:SHOWN_FOUND],
        "more": max(0, found.count() - SHOWN_FOUND),
        "error": error,
        "entries": [entry for entry in _entries(domain, effective(request.user, domain), 0, "scan") if entry.name == "scan"],
    }
    return render(request, "storage/take_in.html", context, status=409 if error else 200)
