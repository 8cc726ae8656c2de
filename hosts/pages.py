"""Pages of hosts."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import anywhere, effective, require
from accounts.views.grants import described_grants
from events.models import Event
from hosts import can, services, ssh
from hosts.forms import EditHostForm, MaintenanceForm, NewHostForm
from hosts.models import Host
from hosts.power import tab as power_tab
from jobs.engine import holder_of
from jobs.models import Job, Lock
from metrics import live
from portal.pages import lists
from portal.pages.actions import REFUSALS, Entry, answer, entries, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page
from storage.models import StorageDomain
from vms.migration.evacuation import departures
from vms.models import VM

LIST = lists.ListPage(
    title="Hosts",
    row_template="hosts/row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda host: host.name),
        lists.Column("status", "Status", "status", lambda host: host.status),
        lists.Column("cluster", "Cluster", "cluster__name", lambda host: host.cluster),
        lists.Column("address", "Address", "address", lambda host: host.address),
        lists.Column("cpu", "CPU", "cpu_count", lambda host: host.cpu_count, "v-num"),
        lists.Column("memory", "Memory", "memory_bytes", lambda host: host.memory_bytes, "v-num"),
        lists.Column("vms", "VMs", "running", lambda host: host.running, "v-num"),
        lists.Column("actions", ""),
    ),
    empty=lists.Empty(
        "server-2",
        "No hosts yet",
        "A host is a machine that runs libvirt. Add one with a single pasted command; the VMs it already runs are taken over without a stop.",
    ),
    live="host",
    filters={
        "name": FilterField("name"),
        "status": FilterField("status", "choice"),
        "cluster": FilterField("cluster__name"),
        "address": FilterField("address"),
        "cpu": FilterField("cpu_count", "number"),
        "driver": FilterField("driver", "choice"),
    },
    hint="status:up cluster:Default",
)
TABS = (
    ("overview", "Overview"),
    ("vms", "VMs"),
    ("storage", "Storage"),
    ("power", "Power"),
    ("capabilities", "Capabilities"),
    ("permissions", "Permissions"),
    ("events", "Events"),
)
_VERBS = {"activate": services.activate, "maintenance": services.maintenance, "refresh": services.refresh, "remove": services.remove}


def action_entries(host: Host, permissions: frozenset[str], busy: Job | None, running: int) -> list[Entry]:
    opens = {"edit": reverse("hosts:edit", args=[host.pk])}
    if running:
        opens["maintenance"] = reverse("hosts:maintenance", args=[host.pk])
    confirm = {
        "remove": f"Vireo forgets {host.name}. VMs that it adopted there go on running, without Vireo.",
        "maintenance": f"Nothing new starts on {host.name} until it is activated again.",
    }
    verdicts = can.verdicts(host, permissions, busy=busy)
    if host.transport != "tls":
        verdicts["enrol"] = None
    return entries(
        can.ACTIONS,
        verdicts,
        lambda name: reverse("hosts:action", args=[host.pk, name]),
        opens=opens,
        confirm=confirm,
        quick=("activate", "maintenance"),
    )


@require_GET
def host_list(request: HttpRequest) -> HttpResponse:
    everywhere = effective(request.user)

    def prepare(hosts: Sequence[Host]) -> Sequence[Host]:
        numbers = live.latest(f"host:{host.pk}" for host in hosts)
        locks = Lock.objects.select_related("job").filter(object_type="host", object_id__in=[host.pk for host in hosts])
        busy = {lock.object_id: lock.job for lock in locks}
        for host in hosts:
            host.now = numbers.get(f"host:{host.pk}", {})  # type: ignore[attr-defined]
            host.entries = action_entries(host, everywhere, busy.get(host.pk), host.running) if everywhere else []  # type: ignore[attr-defined]
        return hosts

    rows = Host.objects.visible_to(request.user).select_related("cluster").defer("capabilities")
    rows = rows.annotate(running=Count("vms", filter=~Q(vms__status="down")))
    may_add = "host.create" in anywhere(request.user)
    buttons = [{"url": reverse("hosts:new"), "title": "Add host", "icon": "plus", "allowed": may_add}]
    return lists.show(request, LIST, rows, prepare=prepare, buttons=buttons)


def find(request: HttpRequest, pk: UUID) -> Host:
    host = Host.objects.visible_to(request.user).select_related("cluster__data_center").filter(pk=pk).first()
    if host is None:
        raise Http404("There is no such host.")
    return host


@require_GET
def host_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    host = find(request, pk)
    permissions = effective(request.user, host)
    tab = request.GET.get("tab", "overview")
    tabs = [(name, title) for name, title in TABS if name != "permissions" or "grant.view" in permissions]
    busy = holder_of(host)
    vms = host.vms.all()
    running = vms.exclude(status="down").count()
    context: dict[str, Any] = {
        "host": host,
        "tab": tab if tab in dict(tabs) else "overview",
        "tabs": tabs,
        "permissions": permissions,
        "entries": action_entries(host, permissions, busy, running),
        "busy": busy,
        "now": live.latest([f"host:{host.pk}"]).get(f"host:{host.pk}", {}),
        "running": running,
        "committed": (vms.exclude(status="down").aggregate(mib=Sum("memory_mib"))["mib"] or 0) << 20,
        "silence": power_tab.note_of(host),
        "waits_for_enrolment": host.transport == "tls" and host.last_seen_at is None,
    }
    if context["tab"] in ("overview", "vms"):
        context["vms"] = VM.objects.visible_to(request.user).filter(host=host).order_by("name")[:500]
    if context["tab"] in ("overview", "storage"):
        seen = StorageDomain.objects.visible_to(request.user)
        context["storage"] = host.storage_domains.filter(domain__in=seen).select_related("domain")
    if context["tab"] == "power":
        context |= power_tab.context(host, permissions)
    if context["tab"] == "events":
        context["events"] = Event.objects.filter(object_type="host", object_id=host.pk)[:100]
    if context["tab"] == "permissions":
        context |= {"grants": described_grants(obj=host), "obj": host}
    return render(request, "hosts/detail.html", context)


def new(request: HttpRequest) -> HttpResponse:
    if "host.create" not in anywhere(request.user):
        raise PermissionDenied("You may not add hosts: no grant gives you host.create.")
    form = NewHostForm(request.user, request.POST or None)

    def run(data: dict[str, Any]) -> HttpResponse:
        host, job = services.add(request.user, services.NewHost(enrol=data["transport"] == "tls", **data))
        return redirect(host) if job is not None else _enrolment(request, host)

    text = "The command installs libvirt, if it is missing, and a certificate. VMs that run there go on, and show here."
    return form_page(request, form, run, title="Add host", verb="Add host", back=reverse("hosts:list"), back_title="Hosts", text=text)


def _enrolment(request: HttpRequest, host: Host) -> HttpResponse:
    """The command, shown this once."""
    command = services.new_enrolment(request.user, host, request.build_absolute_uri("/"))
    response = render(request, "hosts/enrol.html", {"host": host, "command": command})
    response["Cache-Control"] = "no-store"
    return response


def edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    host = find(request, pk)
    require(request.user, "host.edit", host)
    form = EditHostForm(request.POST or None, initial={"name": host.name, "address": host.address, "description": host.description})

    def run(data: dict[str, Any]) -> HttpResponse:
        services.edit(request.user, host, {name: data[name] for name in form.changed_data})
        messages.success(request, f"{host.name} was changed.")
        return redirect(host)

    return form_page(request, form, run, title=f"Edit {host.name}", verb="Save", back=host.get_absolute_url(), back_title=host.name)


def maintenance(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What would become of each VM that runs there, before it is asked for."""
    host = find(request, pk)
    require(request.user, "host.maintain", host)
    leaving = departures(host)
    seen = set(VM.objects.visible_to(request.user).filter(host=host).values_list("pk", flat=True))
    form = MaintenanceForm(request.POST if request.method == "POST" else None)
    if all(not each.reason for each in leaving):
        del form.fields["shut_down"]

    def run(data: dict[str, Any]) -> HttpResponse:
        job = services.maintenance(request.user, host, data.get("shut_down", False))
        return answer(request, host.get_absolute_url(), f"{job.title}: asked for.", job)

    return form_page(
        request,
        form,
        run,
        "hosts/maintenance.html",
        title=f"Maintenance of {host.name}",
        text=f"VMs that run on {host.name} move to other hosts without a stop. Then nothing runs there until it is activated again.",
        verb="Start maintenance",
        back=host.get_absolute_url(),
        back_title=host.name,
        leaving=[each for each in leaving if each.vm.pk in seen],
        unseen=sum(each.vm.pk not in seen for each in leaving),
    )


@require_POST
def action(request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
    host = find(request, pk)
    back = reverse("hosts:host", args=[pk])
    try:
        if name == "enrol":
            return _enrolment(request, host) if not request.headers.get("HX-Request") else _go_to_enrol(pk)
        if name not in _VERBS:
            raise Http404("There is no such action.")
        job = _VERBS[name](request.user, host)
    except REFUSALS as error:
        return refuse(request, back, error)
    return answer(request, back if name != "remove" else reverse("hosts:list"), f"{job.title}: asked for.", job)


def _go_to_enrol(pk: UUID) -> HttpResponse:
    return HttpResponse(status=204, headers={"HX-Redirect": reverse("hosts:enrol", args=[pk])})


def enrol(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Asks before an earlier command is made worthless; POST shows the new one."""
    host = find(request, pk)
    require(request.user, "host.edit", host)
    if request.method == "POST":
        try:
            return _enrolment(request, host)
        except REFUSALS as error:
            return refuse(request, host.get_absolute_url(), error)
    return render(request, "hosts/enrol.html", {"host": host, "public_key": ssh.public_key() if host.transport == "ssh" else ""})
