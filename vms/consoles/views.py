"""The console's page, its tickets, and thumbnails. None of them waits for a host."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import http_date
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.permissions import effective, require
from vms import can
from vms.consoles import thumbnails, tickets
from vms.models import VM

KINDS = ("vnc", "serial")
_CONFIRM = {
    "reset": "The guest restarts at once: what it has not written to disk is lost.",
    "poweroff": "The guest stops at once: what it has not written to disk is lost.",
}
# In the order of the page's power menu.
_POWER = ("start", "resume", "pause", "shutdown", "reboot", "reset", "poweroff")


def _vm(request: HttpRequest, vm_id: UUID) -> VM:
    """The VM if this user may see it and use its console; otherwise 404 or 403."""
    vm = get_object_or_404(VM.objects.visible_to(request.user).select_related("host", "cluster"), pk=vm_id)
    require(request.user, "vm.console", vm)
    return vm


def _power(vm: VM, permissions: frozenset[str]) -> list[dict[str, Any]]:
    verdicts = can.verdicts(vm, permissions)
    return [
        {
            "name": name,
            "title": can.ACTIONS[name].title,
            "danger": can.ACTIONS[name].danger,
            "icon": can.ACTIONS[name].icon,
            "verdict": verdict,
            "url": reverse("vms:action", args=[vm.pk, name]),
            "confirm": _CONFIRM.get(name, ""),
        }
        for name in _POWER
        if (verdict := verdicts[name]) is not None
    ]


@require_GET
@never_cache
def console(request: HttpRequest, vm_id: UUID) -> HttpResponse:
    """The page with the screen, or with the serial console (`?kind=serial`)."""
    vm = _vm(request, vm_id)
    kind = request.GET.get("kind", "vnc")
    kind = kind if kind in KINDS else "vnc"
    script = "console" if kind == "vnc" else "serial"
    context = {
        "vm": vm,
        "kind": kind,
        "element": f"{kind}-console",
        "page_css": f"dist/{script}.css",
        "page_js": f"dist/{script}.js",
        "function_keys": range(1, 13),
        "verdict": can.check("console", vm),
        "power": _power(vm, effective(request.user, vm)),
    }
    return render(request, "vms/console.html", context)


@require_GET
@never_cache
def state(request: HttpRequest, vm_id: UUID) -> JsonResponse:
    """Whether there is something to show, and what the power menu offers: the open page asks when the VM changed."""
    vm = _vm(request, vm_id)
    verdict = can.check("console", vm)
    power = [
        {"name": entry["name"], "ok": entry["verdict"].ok, "reason": entry["verdict"].reason}
        for entry in _power(vm, effective(request.user, vm))
    ]
    return JsonResponse(
        {"ok": verdict.ok, "reason": verdict.reason, "status": vm.status, "status_name": vm.get_status_display(), "power": power}
    )


@require_POST
@never_cache
def ticket(request: HttpRequest, vm_id: UUID) -> JsonResponse:
    """A ticket for one console, once, within half a minute. 409 with the reason when there is nothing to open."""
    vm = _vm(request, vm_id)
    kind = request.POST.get("kind", "vnc")
    if kind not in KINDS:
        return JsonResponse({"reason": "There are two kinds of console: vnc and serial."}, status=422)
    verdict = can.check("console", vm)
    if not verdict:
        return JsonResponse({"reason": verdict.reason, "status": vm.status}, status=409)
    text = tickets.issue(
        request.user,  # type: ignore[arg-type]
        request.session.session_key or "",
        vm,
        kind,
        view_only=request.POST.get("view_only") == "1",
        take_over=request.POST.get("take_over") == "1",
    )
    return JsonResponse({"ticket": text, "socket": f"/ws/vms/{vm.pk}/{kind}", "page": reverse("vms:console", args=[vm.pk])})


@require_GET
def thumbnail(request: HttpRequest, vm_id: UUID) -> HttpResponse:
    """The screen some seconds ago, as PNG; 204 while there is none. Looking at it keeps it fresh."""
    vm = _vm(request, vm_id)
    if not can.check("console", vm):
        return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
    thumbnails.want(vm.pk)
    found = thumbnails.latest(vm.pk)
    if found is None:
        return HttpResponse(status=204, headers={"Cache-Control": "no-store", "Retry-After": "1"})
    headers = {"Cache-Control": f"private, max-age={thumbnails.REFRESH_SECONDS - 1}", "Last-Modified": http_date(found.taken_at)}
    return HttpResponse(found.png, content_type="image/png", headers=headers)
