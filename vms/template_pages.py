"""Pages of templates."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import anywhere, effective
from accounts.views.grants import described_grants
from portal.pages import lists
from portal.pages.actions import REFUSALS, refuse
from portal.pages.filtering import FilterField
from vms import services
from vms.models import VM, Template

LIST = lists.ListPage(
    title="Templates",
    row_template="vms/template_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("data_center", "Data center", "data_center__name", lambda row: row.data_center),
        lists.Column("cpu", "CPUs", "vcpus", lambda row: row.vcpus, "v-num"),
        lists.Column("memory", "Memory", "memory_mib", lambda row: row.memory_mib, "v-num"),
        lists.Column("actions", ""),
    ),
    empty=lists.Empty(
        "template", "No templates yet", "A template is a VM's disks and sizes, ready to be made into new VMs. Make one from a VM's menu."
    ),
    live="template",
    filters={"name": FilterField("name"), "memory": FilterField("memory_mib", "mib"), "cpu": FilterField("vcpus", "number")},
)


@require_GET
def template_list(request: HttpRequest) -> HttpResponse:
    return lists.show(
        request,
        LIST,
        Template.objects.visible_to(request.user).select_related("data_center"),
        may_create="vm.create" in anywhere(request.user),
    )


def find(request: HttpRequest, pk: UUID) -> Template:
    found = Template.objects.visible_to(request.user).select_related("data_center").filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such template.")
    return found


@require_GET
def template_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    template = find(request, pk)
    permissions = effective(request.user, template)
    context = {
        "template": template,
        "disks": template.disks.select_related("domain"),
        "vms": VM.objects.visible_to(request.user).filter(template=template).select_related("host")[:50],
        "permissions": permissions,
        "grants": described_grants(obj=template) if "grant.view" in permissions else None,
        "may_create": "vm.create" in anywhere(request.user) and "template.use" in permissions,
    }
    return render(request, "vms/template_detail.html", context)


@require_POST
def remove(request: HttpRequest, pk: UUID) -> HttpResponse:
    template = find(request, pk)
    try:
        job = services.remove_template(request.user, template)
    except REFUSALS as error:
        return refuse(request, reverse("vms:template", args=[pk]), error)
    messages.info(request, f"{job.title}: asked for.")
    return redirect("vms:templates")
