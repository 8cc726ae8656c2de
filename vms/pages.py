"""Pages of VMs: list, detail, new, edit, actions. Each asks permission, calls a service, shows what came of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.managers import grants_in_force
from accounts.permissions import allowed, anywhere, effective, require
from accounts.quotas.shares import held_by
from accounts.views.grants import described_grants
from events.models import Event
from jobs.engine import holder_of
from jobs.models import Job, Lock
from metrics import live
from portal.errors import FieldError, NotPossible
from portal.forms import add_errors
from portal.pages import lists
from portal.pages.actions import REFUSALS, Entry, answer, entries, refuse
from portal.pages.filtering import FilterField, apply_filter
from storage.models import DiskContent
from vms import can, expiry, services
from vms.disks import pages as disk_pages
from vms.forms import EditVmForm, NewVmForm, RemoveVmForm, RunOnceForm, TemplateForm, usable
from vms.guest import pages as guest_pages
from vms.guest.forms import FirstBootForm
from vms.models import VM, Position, Restart, Snapshot
from vms.ova import services as ova
from vms.spec import attachments_of, nics_of

VM_FILTERS = {
    "name": FilterField("name"),
    "status": FilterField("status", "choice"),
    "host": FilterField("host__name"),
    "cluster": FilterField("cluster__name"),
    "template": FilterField("template__name"),
    "owner": FilterField("owner__username"),
    "os": FilterField("os"),
    "cpu": FilterField("vcpus", "number"),
    "memory": FilterField("memory_mib", "mib"),
    "tag": FilterField("tags", "tags"),
}
LIST = lists.ListPage(
    title="Virtual machines",
    row_template="vms/row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda vm: vm.name),
        lists.Column("status", "Status", "status", lambda vm: vm.status),
        lists.Column("host", "Host", "host__name", lambda vm: vm.host),
        lists.Column("address", "Address", "", lambda vm: " ".join(vm.guest_addresses)),
        lists.Column("cpu", "CPU", "vcpus", lambda vm: vm.vcpus, "v-num"),
        lists.Column("memory", "Memory", "memory_mib", lambda vm: vm.memory_mib, "v-num"),
        lists.Column("actions", ""),
    ),
    empty=lists.Empty(
        "device-desktop",
        "No virtual machines yet",
        "A virtual machine is a computer of its own inside a host. Make the first from a template: it runs in seconds.",
    ),
    live="vm",
    filters=VM_FILTERS,
    hint="status:up host:node1 cpu>4 -tag:test",
)
BULK = ("start", "shutdown", "pause", "resume", "reboot", "migrate", "poweroff", "remove")
TABS = (
    ("overview", "Overview"),
    ("disks", "Disks"),
    ("networks", "Networks"),
    ("guest", "Guest"),
    ("snapshots", "Snapshots"),
    ("settings", "Settings"),
    ("permissions", "Permissions"),
    ("events", "Events"),
)
_QUICK = ("start", "resume", "console", "shutdown")
_LIST_DEFERRED = (
    "description",
    "display_secret",
    "kernel",
    "initrd",
    "cmdline",
    "drift",
    "next_run",
    "template",
    "owner",
    "host__capabilities",
    "host__ssh_host_keys",
    "host__description",
)


def action_entries(vm: VM, permissions: frozenset[str], busy: Job | None) -> list[Entry]:
    """The VM's menu; what loses a guest's work asks first and says how."""
    opens = {
        "console": reverse("vms:console", args=[vm.pk]),
        "edit": reverse("vms:edit", args=[vm.pk]),
        "run_once": reverse("vms:run-once", args=[vm.pk]),
        "template": reverse("vms:make-template", args=[vm.pk]),
        "migrate": reverse("vms:migrate", args=[vm.pk]),
        "remove": reverse("vms:remove", args=[vm.pk]),
    }
    confirm = {
        "poweroff": f"{vm.name} stops at once, as if its plug were pulled. What its guest has not written is lost.",
        "reset": f"{vm.name} restarts at once, as by a reset button. What its guest has not written is lost.",
    }
    verdicts = can.verdicts(vm, permissions, busy=busy)
    return entries(
        can.ACTIONS, verdicts, lambda name: reverse("vms:action", args=[vm.pk, name]), opens=opens, quick=_QUICK, confirm=confirm
    )


def quick_entries(vm: VM, permissions: frozenset[str], busy: Job | None) -> list[Entry]:
    """The buttons of a row: at most two are possible at any time."""
    url = f"{reverse('vms:list')}{vm.pk}/"  # a resolved name for each of some hundred buttons takes longer than the whole query
    known = {name: can.ACTIONS[name] for name in _QUICK}
    verdicts = {name: can.check(name, vm, busy=busy) if action.permission in permissions else None for name, action in known.items()}
    return entries(known, verdicts, lambda name: f"{url}action/{name}/", opens={"console": f"{url}console/"}, quick=_QUICK)


def _permissions_of(request: HttpRequest, vms: Sequence[VM]) -> dict[UUID, frozenset[str]]:
    """What the user may do with each row, with two queries for the whole page."""
    everywhere = effective(request.user)
    if everywhere >= {can.ACTIONS[name].permission for name in _QUICK}:
        return {vm.pk: everywhere for vm in vms}
    held: dict[tuple[str, UUID | None], set[str]] = {}
    ids = {vm.pk for vm in vms} | {vm.cluster_id for vm in vms} | {vm.cluster.data_center_id for vm in vms}
    grants = grants_in_force(request.user).filter(object_id__in=ids)
    for object_type, object_id, permission in grants.values_list("object_type", "object_id", "role__permissions__permission"):
        held.setdefault((object_type, object_id), set()).add(permission)
    found = {}
    for vm in vms:
        keys = (("vm", vm.pk), ("cluster", vm.cluster_id), ("data_center", vm.cluster.data_center_id))
        found[vm.pk] = everywhere.union(*(held.get(key, set()) for key in keys))
    return found


def prepared(request: HttpRequest, vms: Sequence[VM]) -> list[VM]:
    """Rows with their actions and live numbers: a constant number of queries, one round trip to Redis."""
    locks = Lock.objects.select_related("job").filter(object_type="vm", object_id__in=[vm.pk for vm in vms])
    busy = {lock.object_id: lock.job for lock in locks}
    numbers = live.latest(f"vm:{vm.pk}" for vm in vms)
    permissions = _permissions_of(request, vms)
    for vm in vms:
        vm.entries = quick_entries(vm, permissions[vm.pk], busy.get(vm.pk))  # type: ignore[attr-defined]
        vm.now = numbers.get(f"vm:{vm.pk}", {}) if vm.host_id else {}  # type: ignore[attr-defined]
        vm.job = busy.get(vm.pk)  # type: ignore[attr-defined]
    return list(vms)


def _rows(request: HttpRequest) -> Any:
    return VM.objects.visible_to(request.user).select_related("host", "cluster")


@require_GET
def vm_list(request: HttpRequest) -> HttpResponse:
    may = anywhere(request.user)
    return lists.show(
        request,
        LIST,
        _rows(request),
        prepare=lambda vms: prepared(request, vms),
        buttons=[{"url": reverse("vms:new"), "title": "New VM", "icon": "plus", "allowed": "vm.create" in may}],
        bulk=[replace(can.ACTIONS[name], title=can.ACTIONS[name].title.rstrip("…")) for name in BULK if can.ACTIONS[name].permission in may],
        bulk_url=reverse("vms:bulk"),
    )


def find(request: HttpRequest, pk: UUID) -> VM:
    """The VM, if this user may see it. Raises Http404."""
    vm = VM.objects.visible_to(request.user).select_related("host", "cluster__data_center", "template", "owner").filter(pk=pk).first()
    if vm is None:
        raise Http404("There is no such VM.")
    return vm


def restart_of(vm: VM) -> Restart | None:
    """What it waits for, when it is to run again by itself."""
    return Restart.objects.filter(vm=vm).first() if vm.highly_available else None


@require_GET
def menu(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Everything that the VM can do now: a row's menu, and without JavaScript a page."""
    vm = find(request, pk)
    found = action_entries(vm, effective(request.user, vm), holder_of(vm))
    for before, entry in zip(found, found[1:], strict=False):
        entry.first_of_group = before.group != entry.group
    return render(request, "vms/menu.html", {"vm": vm, "entries": found})


@require_GET
def vm_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = find(request, pk)
    permissions = effective(request.user, vm)
    busy = holder_of(vm)
    tab = request.GET.get("tab", "overview")
    tabs = [(name, title) for name, title in TABS if name != "permissions" or "grant.view" in permissions]
    context: dict[str, Any] = {
        "vm": vm,
        "tab": tab if tab in dict(tabs) else "overview",
        "tabs": tabs,
        "entries": action_entries(vm, permissions, busy),
        "busy": busy,
        "may": anywhere(request.user),
        "permissions": permissions,
        "now": live.latest([f"vm:{vm.pk}"]).get(f"vm:{vm.pk}", {}),
        "last_failure": last_failure(vm),
        "next_run": waiting_changes(vm),
        "ends": expiry.banner(vm, "vm.edit" in permissions),
        "restart": restart_of(vm),
        "preview": preview_of(vm),
        "may_set_expiry": tab == "settings" and allowed(request.user, "cluster.edit", vm.cluster),
    }
    if context["tab"] == "disks":
        context |= disk_pages.of_vm(vm, permissions, busy) | {"ova_bytes": ova.bytes_of(vm)}
    if context["tab"] == "overview":
        context["attachments"] = list(vm.attachments.select_related("disk__domain", "disk__backing"))
    if context["tab"] in ("overview", "networks"):
        context["nics"] = nics_of(vm)
    if context["tab"] == "guest":
        context |= guest_pages.section(vm, permissions, busy)
    if context["tab"] == "snapshots":
        from vms.snapshots.pages import context_of  # it is built upon this module

        context |= context_of(request, vm, permissions)
    if context["tab"] == "events":
        context["events"] = Event.objects.filter(object_type="vm", object_id=vm.pk).select_related("job")[:100]
    if context["tab"] == "permissions":
        context |= {"grants": described_grants(obj=vm), "obj": vm}
    return render(request, "vms/detail.html", context)


def preview_of(vm: VM) -> Snapshot | None:
    """The snapshot that the VM is tried at."""
    return Snapshot.objects.filter(pk__in=Position.objects.filter(vm=vm).values("preview_id")).first()


def last_failure(vm: VM) -> Job | None:
    """The newest job of the VM when it failed: it stays on the page until another succeeds."""
    newest = Job.objects.filter(object_type="vm", object_id=vm.pk, status__in=("succeeded", "failed")).order_by("-created_at").first()
    return newest if newest is not None and newest.status == "failed" else None


def waiting_changes(vm: VM) -> list[tuple[str, Any, Any]]:
    """What waits for the next run: its name, the value now, the value then."""
    names = {"memory_mib": "Memory (MiB)", "vcpus": "Virtual CPUs", "firmware": "Firmware"}
    return [(names.get(field, field), getattr(vm, field), value) for field, value in vm.next_run.items()]


def suggested_name(request: HttpRequest) -> str:
    """vm-01, vm-02, …: the first that no VM bears."""
    taken = set(VM.objects.filter(name__startswith="vm-").values_list("name", flat=True))
    return next(name for number in range(1, 10**6) if (name := f"vm-{number:02}") not in taken)


def new(request: HttpRequest) -> HttpResponse:
    if "vm.create" not in anywhere(request.user):
        raise PermissionDenied("You may not create VMs: no grant gives you vm.create.")
    if request.method == "POST":
        form = NewVmForm(request.user, request.POST)
        told = FirstBootForm(request.user, request.POST)
        if form.is_valid() and told.is_valid():
            data = form.cleaned_data
            settings = told.settings(data["template"]) if told.was_sent else None
            try:
                vm, job = services.create(request.user, services.NewVm(first_boot=settings, **data))
            except ValidationError as error:
                if (rest := told.take_errors(error)) is not None:
                    add_errors(form, rest)
            except NotPossible as error:
                form.add_error(None, str(error))
            else:
                return redirect(vm)
    else:
        form, told = NewVmForm(request.user, initial=_first_choice(request)), FirstBootForm(request.user)
    context = {"form": form, "first_boot": told, "held_quotas": held_by(request.user)}
    return render(request, "vms/new.html", context, status=422 if form.errors or told.errors else 200)


def _first_choice(request: HttpRequest) -> dict[str, Any]:
    """The form is ready to send: the newest template, its sizes, a free name. `?template=…` chooses another."""
    from vms.models import Template

    templates = Template.objects.visible_to(request.user, "template.use")
    wanted = request.GET.get("template", "")
    template = templates.filter(pk=wanted).first() if _is_uuid(wanted) else usable(request.user).order_by("-created_at").first()
    initial: dict[str, Any] = {"name": suggested_name(request)}
    if template is not None:
        initial |= {"template": template.pk, "memory_mib": template.memory_mib, "vcpus": template.vcpus}
    return initial


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = find(request, pk)
    require(request.user, "vm.edit", vm)
    form = EditVmForm.of(request.user, vm, request.POST or None)  # type: ignore[arg-type]
    if request.method == "POST" and form.is_valid():
        try:
            vm, _job = services.edit(request.user, vm, form.changes())
        except ValidationError as error:
            add_errors(form, error)
        except REFUSALS as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"{vm.name} was changed." + (" What needs a restart waits for its next run." if vm.next_run else ""))
            return redirect(vm)
    context = {"form": form, "title": f"Edit {vm.name}", "verb": "Save", "back": vm.get_absolute_url(), "back_title": vm.name}
    if vm.status != "down":
        context["text"] = "It runs: more CPUs are plugged in at once; fewer, memory and firmware change when it next starts."
    return render(request, "pages/form.html", context, status=422 if form.errors else 200)


@require_POST
def action(request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
    vm = find(request, pk)
    if name not in can.ACTIONS or name in services.NOT_BY_ACT:
        raise Http404("There is no such action.")
    options = {"force": True} if request.POST.get("force") else {}
    try:
        job = services.act(request.user, vm, name, **options)
    except REFUSALS as error:
        return refuse(request, vm.get_absolute_url(), error)
    return answer(request, vm.get_absolute_url(), f"{job.title}: asked for.", job)


@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    """The action on the chosen rows, or on all that fit the filter; what became of each."""
    name = request.POST.get("action", "")
    if name not in BULK:
        raise Http404("There is no such action.")
    rows = _rows(request)
    if "all" in request.POST:
        try:
            rows = apply_filter(rows, request.POST["all"], VM_FILTERS)
        except FieldError as error:
            messages.error(request, error.text)
            return redirect("vms:list")
    else:
        rows = rows.filter(pk__in=[key for key in request.POST.getlist("ids") if _is_uuid(key)][:1000])
    vms = list(rows)
    if name in ("remove", "poweroff") and request.POST.get("sure") != str(len(vms)):
        context = {
            "vms": vms,
            "action": can.ACTIONS[name],
            "posted": request.POST,
            "disks": sum(len(services.own_disks(vm)) for vm in vms) if name == "remove" else 0,
        }
        return render(request, "vms/bulk_confirm.html", context)
    results = services.bulk(request.user, vms, name)
    return render(
        request,
        "vms/bulk_results.html",
        {"results": results, "action": can.ACTIONS[name], "done": sum(1 for result in results if result.job)},
    )


def remove(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = find(request, pk)
    require(request.user, "vm.delete", vm)
    disks = services.own_disks(vm)
    form = RemoveVmForm(vm, bool(disks), request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            job = services.remove(request.user, vm, keep_disks=form.keeps_disks)
        except REFUSALS as error:
            form.add_error(None, str(error))
        else:
            messages.info(request, f"{job.title}: asked for.")
            return redirect("vms:list")
    others = [attachment.disk for attachment in attachments_of(vm) if attachment.disk and attachment.disk not in disks]
    kept = [disk for disk in others if disk.content != DiskContent.SEED]
    context = {
        "form": form,
        "vm": vm,
        "disks": disks,
        "kept": kept,
        "total": sum(disk.capacity_bytes for disk in disks),
        "verdict": can.check("remove", vm, busy=holder_of(vm)),
    }
    return render(request, "vms/remove.html", context, status=422 if form.errors else 200)


def run_once(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = find(request, pk)
    require(request.user, "vm.start", vm)
    form = RunOnceForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        iso = form.cleaned_data["iso"]
        try:
            services.act(request.user, vm, "run_once", paused=form.cleaned_data["paused"], iso=str(iso.pk) if iso else None)
        except REFUSALS as error:
            form.add_error(None, str(error))
        else:
            return redirect(vm)
    context = {
        "form": form,
        "title": f"Run {vm.name} once",
        "verb": "Run once",
        "text": "These hold for this run alone.",
        "back": vm.get_absolute_url(),
        "back_title": vm.name,
    }
    return render(request, "pages/form.html", context, status=422 if form.errors else 200)


def make_template(request: HttpRequest, pk: UUID) -> HttpResponse:
    vm = find(request, pk)
    require(request.user, "vm.edit", vm)
    form = TemplateForm(request.user, vm, request.POST or None, initial={"name": f"{vm.name} template"})  # type: ignore[arg-type]
    if request.method == "POST" and form.is_valid():
        try:
            services.make_template(request.user, vm, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        except REFUSALS as error:
            form.add_error(None, str(error))
        else:
            messages.info(request, "The template is being made; its disks are copied in full.")
            return redirect("vms:templates")
    context = {
        "form": form,
        "title": f"Make a template of {vm.name}",
        "verb": "Make template",
        "text": _seal_note(vm),
        "back": vm.get_absolute_url(),
        "back_title": vm.name,
    }
    return render(request, "pages/form.html", context, status=422 if form.errors else 200)


def _seal_note(vm: VM) -> str:
    if vm.sealed_at is not None:
        return "It is sealed: machines made of the template get host keys and a machine id of their own."
    return (
        f"{vm.name} is not sealed: machines made of the template would have its SSH host keys and machine id. "
        "Where its guest has cloud-init and the guest agent, run it and choose «Seal and shut down» under Guest first."
    )


@require_POST
def drift(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Accept or revert what somebody changed with virsh."""
    vm = find(request, pk)
    try:
        if request.POST.get("verb") == "revert":
            services.revert_drift(request.user, vm)
        else:
            services.accept_drift(request.user, vm)
    except REFUSALS as error:
        messages.error(request, str(error))
    return redirect(vm)
