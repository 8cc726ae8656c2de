"""Pages of templates."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import anywhere, effective, require
from accounts.views.grants import described_grants
from jobs.engine import holder_of
from lab import debian_template
from portal.pages import lists
from portal.pages.actions import REFUSALS, refuse
from portal.pages.filtering import FilterField
from portal.pages.forms import form_page
from vms import services, template_services
from vms.forms import EditTemplateForm
from vms.models import VM, Template
from vms.services import thin_copies
from vms.template_services import FIELDS, is_ready, versions_of, with_uses

LIST = lists.ListPage(
    title="Templates",
    row_template="vms/template_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("version", "Version", "version", lambda row: row.version, "v-num"),
        lists.Column("used", "VMs", "used", lambda row: row.used, "v-num"),
        lists.Column("set_up_by", "Set up by", "set_up_by", lambda row: row.set_up_by),
        lists.Column("data_center", "Data center", "data_center__name", lambda row: row.data_center),
        lists.Column("cpu", "CPUs", "vcpus", lambda row: row.vcpus, "v-num"),
        lists.Column("memory", "Memory", "memory_mib", lambda row: row.memory_mib, "v-num"),
        lists.Column("actions", ""),
    ),
    empty=lists.Empty(
        "template", "No templates yet", "A template is a VM's disks and sizes, ready to be made into new VMs. Make one from a VM's menu."
    ),
    live="template",
    filters={
        "name": FilterField("name"),
        "memory": FilterField("memory_mib", "mib"),
        "cpu": FilterField("vcpus", "number"),
        "version": FilterField("version", "number"),
    },
)


@require_GET
def template_list(request: HttpRequest) -> HttpResponse:
    may = anywhere(request.user)
    rows = Template.objects.visible_to(request.user).select_related("data_center").prefetch_related("disks")
    return lists.show(
        request,
        LIST,
        with_uses(rows),
        template="vms/template_list.html",
        may_create="vm.create" in may,
        may_build="template.create" in may,
        can_build=debian_template.can_build(),
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
        "ready": is_ready(template),
        "busy": holder_of(template),
        "versions": with_uses(Template.objects.visible_to(request.user).filter(pk__in=versions_of(template).values("pk"))).order_by(
            "-version"
        ),
        "thin": thin_copies(template) if "template.delete" in permissions else [],
        "vms": VM.objects.visible_to(request.user).filter(template=template).select_related("host")[:50],
        "permissions": permissions,
        "grants": described_grants(obj=template) if "grant.view" in permissions else None,
        "may_create": "vm.create" in anywhere(request.user) and "template.use" in permissions,
    }
    return render(request, "vms/template_detail.html", context)


def edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    template = find(request, pk)
    require(request.user, "template.edit", template)
    form = EditTemplateForm(request.POST or None, initial={name: getattr(template, name) for name in FIELDS})

    def run(data: dict[str, Any]) -> HttpResponse:
        template_services.edit(request.user, template, {name: data[name] for name in form.changed_data})  # type: ignore[arg-type]
        messages.success(request, f"{template} was changed.")
        return redirect(template)

    text = "VMs that were made of it stay as they are."
    back = template.get_absolute_url()
    return form_page(request, form, run, title=f"Edit {template}", verb="Save", text=text, back=back, back_title=template.name)


@require_POST
def remove(request: HttpRequest, pk: UUID) -> HttpResponse:
    template = find(request, pk)
    try:
        job = services.remove_template(request.user, template)
    except REFUSALS as error:
        return refuse(request, reverse("vms:template", args=[pk]), error)
    messages.info(request, f"{job.title}: asked for.")
    return redirect("vms:templates")
