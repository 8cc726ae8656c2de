"""`/` for a user: their VMs as cards, or how to get the first one."""

from collections.abc import Iterable, Sequence

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse

from accounts.permissions import anywhere
from accounts.quotas.shares import held_by
from portal.pages import lists
from portal.pages.actions import Entry
from vms import expiry
from vms.models import VM, Template
from vms.pages import VM_FILTERS, prepared
from vms.pools.models import Pool
from vms.pools.services import free_machines, why_not_take

LIST = lists.ListPage(
    title="My machines",
    row_template="selfservice/card.html",
    columns=(
        lists.Column("name", "Name", "name", lambda vm: vm.name),
        lists.Column("status", "Status", "status", lambda vm: vm.status),
        lists.Column("address", "Address", "", lambda vm: " ".join(vm.guest_addresses)),
        lists.Column("created", "Created", "created_at", lambda vm: vm.created_at.isoformat()),
    ),
    empty=lists.Empty("device-desktop", "No machines yet", ""),
    live="vm job",
    filters=VM_FILTERS,
    hint="Find by name, or status:up",
)


def machines(request: HttpRequest) -> HttpResponse:
    """The user's VMs, a card each."""
    may = anywhere(request.user)
    templates = Template.objects.visible_to(request.user, "template.use")
    return lists.show(
        request,
        LIST,
        _own(request),
        template="selfservice/home.html",
        prepare=lambda vms: cards(request, vms),
        may_create="vm.create" in may,
        may_start_now="vm.create" in may and templates.exists(),
        pools=usable_pools(request),
        held_quotas=held_by(request.user),  # type: ignore[arg-type]
    )


def usable_pools(request: HttpRequest) -> list[Pool]:
    """The pools that the user may take of, each with why not now and how many are free."""
    found = list(Pool.objects.visible_to(request.user, "pool.use").select_related("template").order_by("name"))
    for pool in found:
        pool.why_not = why_not_take(request.user, pool)  # type: ignore[attr-defined, arg-type]
        pool.free = free_machines(pool).count()  # type: ignore[attr-defined]
    return found


def _own(request: HttpRequest) -> QuerySet:
    template_name = Template.objects.filter(pk=OuterRef("template_id")).values("name")[:1]
    return VM.objects.visible_to(request.user).select_related("host", "cluster").annotate(template_name=Subquery(template_name))


def cards(request: HttpRequest, vms: Sequence[VM]) -> Iterable[VM]:
    """Each VM with its console's button, its main verb, and whether it has a screen to show."""
    shown = prepared(request, vms)
    for vm in shown:
        by_name: dict[str, Entry] = {entry.name: entry for entry in vm.entries}  # type: ignore[attr-defined]
        vm.console = by_name.get("console")  # type: ignore[attr-defined]
        vm.ends = expiry.banner(vm)  # type: ignore[attr-defined]
        vm.main = main_verb(by_name)  # type: ignore[attr-defined]
    return shown


def main_verb(entries: dict[str, Entry]) -> Entry | None:
    """What one most likely wants of the machine now: run, resume or shut down; none while none is possible."""
    found = (entries.get(name) for name in ("resume", "start", "shutdown"))
    return next((entry for entry in found if entry is not None and entry.verdict.ok), None)
