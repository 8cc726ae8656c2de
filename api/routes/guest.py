"""A VM's guest: what its agent told, what it can be asked for, and its first boot settings."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router

from api.lookup import visible
from api.schemas import FirstBootIn, GuestActionIn, GuestOut, JobOut, Problem
from portal.errors import FieldError
from vms.guest import can, first_boot, services
from vms.guest.settings import FirstBoot, NicSetup
from vms.models import VM

router = Router(tags=["Guests"])
_RELATED = ("cluster", "host")


def settings_of(body: FirstBootIn) -> FirstBoot:
    """The body as the services take it."""
    fields = body.model_dump(exclude={"nics", "ssh_keys"})
    nics = tuple(NicSetup(nic.name, nic.method, nic.address, nic.gateway, tuple(nic.dns)) for nic in body.nics)
    return FirstBoot(ssh_keys=tuple(body.ssh_keys), nics=nics, **fields)


@router.get("/vms/{uuid:pk}/guest", response={200: GuestOut, 404: Problem}, summary="What a VM's guest agent told")
def get_guest(request: HttpRequest, pk: UUID) -> Any:
    report = services.report_of(visible(VM, request.user, pk))
    if report is None:
        return {"seen_at": None, "frozen_until": None}
    return report.facts | {"seen_at": report.seen_at, "frozen_until": report.frozen_until}


@router.post(
    "/vms/{uuid:pk}/guest/{action}",
    response={202: JobOut, 403: Problem, 404: Problem, 409: Problem, 422: Problem},
    summary="Ask the guest agent",
)
def act_on_guest(request: HttpRequest, pk: UUID, action: str, body: GuestActionIn | None = None) -> Any:
    """look, time, password, freeze, thaw, seal."""
    vm = visible(VM, request.user, pk, *_RELATED)
    if action not in can.ACTIONS:
        raise FieldError("action", f"There is no action «{action[:40]}».")
    body = body or GuestActionIn()
    return 202, services.act(request.user, vm, action, account=body.account, password=body.password, seconds=body.seconds)  # type: ignore[arg-type]


@router.put(
    "/vms/{uuid:pk}/first-boot",
    response={202: JobOut, 204: None, 403: Problem, 404: Problem, 409: Problem, 422: Problem},
    summary="Change a VM's first boot settings",
)
def put_first_boot(request: HttpRequest, pk: UUID, body: FirstBootIn) -> Any:
    """202: the CD is written now; 204: nothing changed, or it is written when the VM next starts. An empty password leaves the one that is set."""
    job = first_boot.change(request.user, visible(VM, request.user, pk, *_RELATED), settings_of(body))  # type: ignore[arg-type]
    return (202, job) if job else (204, None)
