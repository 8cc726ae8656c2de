"""Pages of instance types."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import allowed, require
from portal.forms import SizeField, add_errors
from portal.pages import lists
from portal.pages.filtering import FilterField
from vms import sizes
from vms.models import InstanceType

LIST = lists.ListPage(
    title="Instance types",
    row_template="vms/size_row.html",
    columns=(
        lists.Column("name", "Name", "name", lambda row: row.name),
        lists.Column("description", "Description", "", lambda row: row.description),
        lists.Column("cpu", "CPUs", "vcpus", lambda row: row.vcpus, "v-num"),
        lists.Column("memory", "Memory", "memory_mib", lambda row: row.memory_mib, "v-num"),
        lists.Column("actions", ""),
    ),
    empty=lists.Empty(
        "adjustments",
        "No instance types",
        "An instance type is a size with a name, such as Small: users choose it when they make a machine.",
    ),
    live="",
    default_sort="memory",
    filters={"name": FilterField("name"), "memory": FilterField("memory_mib", "mib"), "cpu": FilterField("vcpus", "number")},
)


class SizeForm(forms.Form):
    name = forms.CharField(max_length=64)
    description = forms.CharField(required=False, max_length=255, help_text="What it is good for, in a few words.")
    vcpus = forms.IntegerField(label="Virtual CPUs", min_value=1, max_value=512, initial=1)
    memory_mib = SizeField(label="Memory", mib=True, initial="1 GiB", help_text="For example 512 MiB or 4G.")


@require_GET
def size_list(request: HttpRequest) -> HttpResponse:
    may_edit = allowed(request.user, "template.edit")
    return lists.show(
        request,
        LIST,
        InstanceType.objects.all(),
        buttons=[{"url": reverse("vms:new-size"), "title": "New instance type", "icon": "plus", "allowed": may_edit}],
        may_edit=may_edit,
        may_delete=allowed(request.user, "template.delete"),
    )


def new_size(request: HttpRequest) -> HttpResponse:
    require(request.user, "template.edit")
    return _form(request, InstanceType(), SizeForm(request.POST or None), "New instance type", "Create")


def edit_size(request: HttpRequest, pk: UUID) -> HttpResponse:
    require(request.user, "template.edit")
    size = get_object_or_404(InstanceType, pk=pk)
    initial: dict[str, Any] = {name: getattr(size, name) for name in SizeForm.base_fields}
    return _form(request, size, SizeForm(request.POST or None, initial=initial), f"Edit {size.name}", "Save")


def _form(request: HttpRequest, size: InstanceType, form: SizeForm, title: str, verb: str) -> HttpResponse:
    if request.method == "POST" and form.is_valid():
        for name, value in form.cleaned_data.items():
            setattr(size, name, value)
        try:
            sizes.save(request.user, size)  # type: ignore[arg-type]
        except ValidationError as error:
            add_errors(form, error)
        else:
            return redirect("vms:sizes")
    context = {"form": form, "title": title, "verb": verb, "back": reverse("vms:sizes"), "back_title": "Instance types"}
    context["text"] = "" if size._state.adding else "VMs that were made with it keep the size they have."
    return render(request, "pages/form.html", context, status=422 if form.errors else 200)


@require_POST
def remove_size(request: HttpRequest, pk: UUID) -> HttpResponse:
    require(request.user, "template.delete")
    size = get_object_or_404(InstanceType, pk=pk)
    sizes.remove(request.user, size)  # type: ignore[arg-type]
    messages.success(request, f"{size.name} was removed; no VM was changed.")
    return redirect("vms:sizes")
