"""The jobs of snapshots. Rows are written after what they say was done, or before where that is what a second try goes by."""

from hypervisor import domains, snapshots
from hypervisor import storage as pools
from hypervisor.errors import AgentUnresponsive, HypervisorError, InvalidState, NotFound
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from jobs.models import Job, JobStatus, StepStatus
from vms.models import VM
from vms.snapshots import on_host, rows
from vms.snapshots.models import LayerState, Snapshot, SnapshotStatus
from vms.steps import define, find_vm, is_alive, link_to, look, vm_of


def _snapshot(ctx: Context) -> Snapshot:
    found = Snapshot.objects.select_related("vm", "parent", "memory_disk__domain").filter(pk=ctx.params["snapshot"]).first()
    if found is None:
        raise StepFailed("The snapshot is gone.")
    return found


def check(ctx: Context) -> None:
    on_host.verify(vm_of(ctx))


def power_off(ctx: Context) -> None:
    vm = vm_of(ctx)
    if not is_alive(vm):
        return
    if not ctx.params.get("poweroff"):
        raise StepFailed(f"{vm.name} runs: power it off first.")
    try:
        domains.destroy(link_to(vm), str(vm.pk))
    except (InvalidState, NotFound):
        ctx.log("It went off by itself.")
    look(vm)


# Take


def make_layers(ctx: Context) -> None:
    vm, snapshot = vm_of(ctx), _snapshot(ctx)
    for attachment in rows.attachments(vm):
        assert attachment.disk is not None
        on_host.make_layer(vm, attachment.disk, snapshot.pk)


def unmake_layers(ctx: Context) -> None:
    vm, snapshot = find_vm(ctx), Snapshot.objects.filter(pk=ctx.params["snapshot"]).first()
    if vm is None or snapshot is None:
        return
    for attachment in rows.attachments(vm):
        assert attachment.disk is not None
        on_host.unmake_layer(vm, attachment.disk, snapshot.pk)


def _files(vm: VM, snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """For each slot the layer that was written to until the snapshot, and the one from then on."""
    found = {}
    for attachment in rows.attachments(vm):
        disk = attachment.disk
        assert disk is not None
        new = disk.layers.select_related("parent").filter(volume=rows.layer_volume(disk, snapshot.pk)).first()
        if new is not None and new.parent is not None and new.path:
            found[attachment.target] = new.parent.path, new.path
    return found


def freeze(ctx: Context) -> None:
    """The moment itself: from now on the guest writes into the new layers."""
    vm, snapshot = vm_of(ctx), _snapshot(ctx)
    files = {target: new for target, (_old, new) in _files(vm, snapshot).items()}
    if is_alive(vm):
        now = snapshots.chains(link_to(vm), str(vm.pk))
        if any(now[target][0] != path for target, path in files.items()):
            _freeze_running(ctx, vm, snapshot, files)
    elif snapshot.with_memory and not snapshot.memory_bytes:
        raise StepFailed(f"{vm.name} stopped: there is no memory to save.")
    on_host.define_with(vm, {each.disk.pk: files[each.target] for each in rows.attachments(vm) if each.disk is not None})
    rows.took(snapshot, _memory_bytes(vm, snapshot))
    on_host.measure(ctx, vm)


def _freeze_running(ctx: Context, vm: VM, snapshot: Snapshot, files: dict[str, str]) -> None:
    memory = ""
    if snapshot.with_memory:
        on_host.delete_memory(vm, snapshot)  # half of it may be there from an earlier try
        memory = snapshot.memory_path
    try:
        snapshots.take(link_to(vm), str(vm.pk), files, memory_path=memory, quiesce=snapshot.quiesced, progress=ctx.progress)
    except AgentUnresponsive as error:
        raise StepFailed(
            f"The guest agent of {vm.name} does not answer, so its file systems cannot be frozen. "
            "Start the QEMU guest agent in it, or take the snapshot without freezing.",
            str(error),
        ) from None


def _memory_bytes(vm: VM, snapshot: Snapshot) -> int:
    if not snapshot.with_memory or snapshot.memory_disk is None:
        return 0
    link, pool = link_to(vm), on_host.pool_of(snapshot.memory_disk)
    pools.refresh_pool(link, pool)  # QEMU wrote the file
    return pools.volume_info(link, pool, snapshot.memory_volume).allocation


def thaw(ctx: Context) -> None:
    """Back into the old layers, with what the guest wrote into the new ones meanwhile."""
    vm, snapshot = find_vm(ctx), Snapshot.objects.select_related("vm", "parent").filter(pk=ctx.params["snapshot"]).first()
    if vm is None or snapshot is None or vm.host is None:
        return
    try:
        now = snapshots.chains(link_to(vm), str(vm.pk))
    except NotFound:
        now = {}
    for target, (old, new) in _files(vm, snapshot).items():
        if now.get(target, ("",))[0] == new:
            on_host.merge(ctx, vm, target, old, new, new)
    rows.not_taken(snapshot)
    define(vm)
    on_host.delete_memory(vm, snapshot)


def _took(job: Job) -> None:
    """A snapshot that was not taken leaves nothing; what could not be undone stays in sight."""
    snapshot = Snapshot.objects.select_related("vm").filter(pk=job.params["snapshot"]).first()
    if snapshot is None or job.status == JobStatus.SUCCEEDED:
        return
    if job.steps.filter(status=StepStatus.UNDO_FAILED).exists():
        rows.set_status(snapshot, SnapshotStatus.BROKEN)
        return
    vm = snapshot.vm
    snapshot.delete()
    rows.changed(vm)


# Preview, commit, undo, revert


def make_preview_layers(ctx: Context) -> None:
    vm = vm_of(ctx)
    if rows.position_of(vm).preview_id is not None:
        return  # an earlier try came as far as to use them
    for mark in _snapshot(ctx).disks.select_related("layer__disk__domain"):
        on_host.make_layer(vm, mark.layer.disk, ctx.job.pk, over=mark.layer)


def unmake_preview_layers(ctx: Context) -> None:
    vm = find_vm(ctx)
    for attachment in rows.attachments(vm) if vm is not None else []:
        assert vm is not None and attachment.disk is not None
        on_host.unmake_layer(vm, attachment.disk, ctx.job.pk)


def stand_on(ctx: Context) -> None:
    vm = vm_of(ctx)
    if is_alive(vm):
        raise StepFailed(f"{vm.name} was started meanwhile: power it off first.")
    rows.previewing(vm, _snapshot(ctx), ctx.job.pk)
    define(vm_of(ctx))


def step_back(ctx: Context) -> None:
    """As before the preview; what runs of it was started by it."""
    vm = find_vm(ctx)
    if vm is None or rows.position_of(vm).preview_id is None:
        return
    _end_run(vm)
    rows.preview_left(vm)
    define(vm_of(ctx))


def _end_run(vm: VM) -> None:
    try:
        domains.destroy(link_to(vm), str(vm.pk))
    except (InvalidState, NotFound):
        return
    look(vm)


def go_on(ctx: Context) -> None:
    """The guest goes on where its memory was saved."""
    vm, snapshot = vm_of(ctx), _snapshot(ctx)
    if not ctx.params.get("memory") or is_alive(vm):
        return
    files = {each.target: each.disk.path for each in rows.attachments(vm) if each.disk is not None}
    try:
        snapshots.restore(link_to(vm), snapshot.memory_path, str(vm.pk), files, ctx.progress)
    except HypervisorError as error:
        if is_alive(vm):
            raise
        raise StepFailed(
            f"The saved memory of {snapshot.name} cannot go on: {error}. Its disks can be previewed without it.", str(error)
        ) from None
    look(vm, started=True)


def keep(ctx: Context) -> None:
    vm = vm_of(ctx)
    rows.preview_kept(vm)
    on_host.tidy_if_possible(ctx, vm)
    on_host.measure(ctx, vm)


def leave(ctx: Context) -> None:
    vm = vm_of(ctx)
    rows.preview_left(vm)
    define(vm_of(ctx))
    on_host.tidy_if_possible(ctx, vm)


# Delete


def merge_away(ctx: Context) -> None:
    on_host.tidy(ctx, vm_of(ctx), dropping=_snapshot(ctx))


def _kept(job: Job) -> None:
    """What was merged stays merged: a snapshot that lost a disk can only be deleted. One that lost none is as before, however early it failed."""
    snapshot = Snapshot.objects.select_related("vm").filter(pk=job.params["snapshot"]).first()
    if snapshot is not None and job.status != JobStatus.SUCCEEDED:
        complete = snapshot.disks.count() >= int(job.params.get("disks", 0))
        rows.set_status(snapshot, SnapshotStatus.OK if complete else SnapshotStatus.BROKEN)


def forget(ctx: Context) -> None:
    vm, snapshot = (
        vm_of(ctx),
        Snapshot.objects.select_related("vm", "parent", "memory_disk__domain").filter(pk=ctx.params["snapshot"]).first(),
    )
    if snapshot is not None:
        on_host.delete_memory(vm, snapshot)
        rows.forgotten(snapshot, ctx.job.user, ctx.job)
    for attachment in rows.attachments(vm):
        assert attachment.disk is not None
        rows.forget_lone_layer(attachment.disk)
    on_host.measure(ctx, vm)


# The VM itself goes


def delete_files(vm: VM, disks: list) -> None:  # type: ignore[type-arg]
    """Every layer of these disks but the active one, and every saved memory. Called by `vm.remove` before it deletes the disks."""
    for disk in disks:
        for layer in disk.layers.exclude(state=LayerState.ACTIVE):
            if vm.host is not None:
                on_host.delete_volume(link_to(vm), on_host.pool_of(disk), layer.volume)
    for snapshot in vm.snapshots.select_related("memory_disk__domain").exclude(memory_volume=""):
        on_host.delete_memory(vm, snapshot)


_CHECK = StepDef("check", "Compare the files with what is known", check)
_OFF = StepDef("off", "Power it off", power_off)
_PREVIEW = [
    _CHECK,
    _OFF,
    StepDef("layers", "Make the layers to write to", make_preview_layers, unmake_preview_layers),
    StepDef("stand", "Set the disks back", stand_on, step_back),
    StepDef("memory", "Restore the memory", go_on, weight=5),
]

register(
    "snapshot.take",
    [
        _CHECK,
        StepDef("layers", "Make the layers to write to", make_layers, unmake_layers),
        StepDef("freeze", "Freeze the disks", freeze, thaw, weight=5),
    ],
    on_end=_took,
)
register("snapshot.preview", _PREVIEW)
register("snapshot.revert", [*_PREVIEW, StepDef("keep", "Keep this state", keep, weight=5)], cancellable=False)
register("snapshot.commit", [_CHECK, StepDef("keep", "Keep this state", keep)], cancellable=False)
register("snapshot.undo", [_CHECK, _OFF, StepDef("leave", "Return to the state before", leave)], cancellable=False)
register(
    "snapshot.delete",
    [
        _CHECK,
        StepDef("merge", "Merge its layers", merge_away, weight=20),
        StepDef("forget", "Forget it", forget),
    ],
    on_end=_kept,
)
