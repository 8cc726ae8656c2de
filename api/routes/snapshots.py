"""A VM's snapshots: list, take, preview, commit, undo, revert, delete, and what is made of them."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Router

from api.lookup import visible
from api.schemas import JobOut, Problem, VmAndJob
from api.snapshot_schemas import ReturnIn, SnapshotAndJob, SnapshotCopyIn, SnapshotIn, SnapshotOut, SnapshotPatch, SnapshotsOut, UndoIn
from vms.models import VM
from vms.snapshots import copies, rows, services
from vms.snapshots.models import Snapshot

router = Router(tags=["Snapshots"])
REFUSED = {403: Problem, 404: Problem, 409: Problem, 422: Problem}


def _vm(request: HttpRequest, pk: UUID) -> VM:
    return visible(VM, request.user, pk, "cluster__data_center", "host", "template")


def _find(request: HttpRequest, pk: UUID, key: UUID) -> tuple[VM, Snapshot]:
    vm = _vm(request, pk)
    found = next((each for each in rows.snapshots_of(vm) if each.pk == key), None)
    if found is None:
        raise Http404("There is no such snapshot of this VM.")
    return vm, found


@router.get("/{uuid:pk}/snapshots", response={200: SnapshotsOut, 404: Problem}, summary="List a VM's snapshots")
def list_snapshots(request: HttpRequest, pk: UUID) -> Any:
    """All of them, with the one that the VM stands on and the one that it is tried at."""
    vm = _vm(request, pk)
    position, found = rows.position_of(vm), rows.snapshots_of(vm)
    return {"items": found, "count": len(found), "current": position.current_id, "preview": position.preview_id}


@router.post("/{uuid:pk}/snapshots", response={202: SnapshotAndJob} | REFUSED, summary="Take a snapshot")
def take_snapshot(request: HttpRequest, pk: UUID, body: SnapshotIn) -> Any:
    user: Any = request.user
    snapshot, job = services.take(user, _vm(request, pk), body.name, body.note, memory=body.memory, quiesce=body.quiesce)
    return 202, {"snapshot": snapshot, "job": job}


@router.post("/{uuid:pk}/snapshots/commit", response={202: JobOut} | REFUSED, summary="Keep the state that is previewed")
def commit_preview(request: HttpRequest, pk: UUID) -> Any:
    user: Any = request.user
    return 202, services.commit(user, _vm(request, pk))


@router.post("/{uuid:pk}/snapshots/undo", response={202: JobOut} | REFUSED, summary="Return to the state before the preview")
def undo_preview(request: HttpRequest, pk: UUID, body: UndoIn | None = None) -> Any:
    user: Any = request.user
    return 202, services.undo(user, _vm(request, pk), poweroff=bool(body and body.poweroff))


@router.patch("/{uuid:pk}/snapshots/{uuid:key}", response={200: SnapshotOut} | REFUSED, summary="Change name or note")
def change_snapshot(request: HttpRequest, pk: UUID, key: UUID, body: SnapshotPatch) -> Any:
    user: Any = request.user
    vm, snapshot = _find(request, pk, key)
    name, note = (old if new is None else new for old, new in ((snapshot.name, body.name), (snapshot.note, body.note)))
    return services.edit(user, vm, snapshot, name, note)


@router.delete("/{uuid:pk}/snapshots/{uuid:key}", response={202: JobOut} | REFUSED, summary="Delete a snapshot")
def delete_snapshot(request: HttpRequest, pk: UUID, key: UUID) -> Any:
    """Its layers are merged, while the VM runs, too; the present state and the other snapshots stay."""
    user: Any = request.user
    return 202, services.delete(user, *_find(request, pk, key))


@router.post("/{uuid:pk}/snapshots/{uuid:key}/preview", response={202: JobOut} | REFUSED, summary="Preview a snapshot")
def preview_snapshot(request: HttpRequest, pk: UUID, key: UUID, body: ReturnIn | None = None) -> Any:
    user, asked = request.user, body or ReturnIn()
    return 202, services.preview(user, *_find(request, pk, key), memory=asked.memory, poweroff=asked.poweroff)  # type: ignore[arg-type]


@router.post("/{uuid:pk}/snapshots/{uuid:key}/revert", response={202: JobOut} | REFUSED, summary="Revert to a snapshot")
def revert_snapshot(request: HttpRequest, pk: UUID, key: UUID, body: ReturnIn | None = None) -> Any:
    user, asked = request.user, body or ReturnIn()
    return 202, services.revert(user, *_find(request, pk, key), memory=asked.memory, poweroff=asked.poweroff)  # type: ignore[arg-type]


@router.post("/{uuid:pk}/snapshots/{uuid:key}/clone", response={202: VmAndJob} | REFUSED, summary="Make a VM of a snapshot")
def clone_snapshot(request: HttpRequest, pk: UUID, key: UUID, body: SnapshotCopyIn) -> Any:
    user: Any = request.user
    vm, job = copies.clone(user, *_find(request, pk, key), name=body.name, description=body.description)
    return 202, {"vm": vm, "job": job}


@router.post("/{uuid:pk}/snapshots/{uuid:key}/template", response={202: JobOut} | REFUSED, summary="Make a template of a snapshot")
def template_of_snapshot(request: HttpRequest, pk: UUID, key: UUID, body: SnapshotCopyIn) -> Any:
    user: Any = request.user
    return 202, copies.make_template(user, *_find(request, pk, key), name=body.name, description=body.description)
