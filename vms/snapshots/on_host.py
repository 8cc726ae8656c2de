"""Layers on a VM's host: looked at, made, merged, deleted. Called from jobs; every function is safe to call again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from uuid import UUID

from hypervisor import domains, snapshots, workbench
from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, HypervisorError, NotFound
from hypervisor.links import HostLink
from hypervisor.snapshots import Chain
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.errors import StepFailed
from storage.models import Disk
from vms.models import VM
from vms.snapshots import chain, rows
from vms.snapshots.chain import Drop, Merge
from vms.snapshots.models import Layer, LayerState, Snapshot
from vms.spec import attachments_of, build_spec, virt_type
from vms.steps import delete_volume, is_alive, link_to, xml_of


def pool_of(disk: Disk) -> str:
    if disk.domain is None:
        raise StepFailed(f"{disk.name} lies in no storage domain.")
    return disk.domain.pool_name


def verify(vm: VM) -> None:
    """Compares the files on the host with what Vireo knows, and touches nothing.

    Raises:
        StepFailed: somebody else took, merged or moved layers; the text says what was expected and what was found.
    """
    link, alive = link_to(vm), is_alive(vm)
    try:
        defined = snapshots.chains(link, str(vm.pk))
    except NotFound:
        defined = {}  # it was undefined outside of Vireo: its files alone count
    found = rows.attachments(vm)
    for pool in {pool_of(each.disk) for each in found if each.disk is not None}:
        pools.glance(link, pool)
    for attachment in found:
        disk = attachment.disk
        assert disk is not None
        known = defined.get(attachment.target, (disk.path,) if not defined else ())
        actual = known if alive else walk(link, known[0], pool_of(disk)) if known else ()
        _compare(disk, rows.expected_chain(disk), actual)
        _verify_others(link, disk)


def _verify_others(link: HostLink, disk: Disk) -> None:
    """The layers of other branches, which no domain has open."""
    tree = rows.tree_of(disk)
    for layer in disk.layers.exclude(path="").select_related("parent"):
        if tree.is_kept(str(layer.pk)) or tree.children(str(layer.pk)):
            expected = (*tree.files(str(layer.pk)), *rows.bottom_of(disk))
            _compare(disk, expected[:2], walk(link, layer.path, pool_of(disk))[:2])


def _below(link: HostLink, path: str, pool: str) -> str:
    """What the file builds on. Raises NotFound."""
    try:
        return snapshots.backing_of(link, path)
    except NotFound:
        pools.refresh_pool(link, pool)  # QEMU or another host made it
        return snapshots.backing_of(link, path)


def walk(link: HostLink, path: str, pool: str) -> Chain:
    """The files that a volume builds on, itself first, as their own headers say; one that is gone ends it."""
    found: list[str] = []
    while path and path not in found and len(found) < snapshots.LONGEST_CHAIN:
        try:
            below = _below(link, path, pool)
        except NotFound:
            return (*found, f"{path} (missing)")
        found.append(path)
        path = below
    return tuple(found)


def _compare(disk: Disk, expected: Iterable[str], found: Iterable[str]) -> None:
    expected, found = tuple(expected), tuple(found)
    if expected == found:
        return
    raise StepFailed(
        f"The files of {disk.name} were changed outside of Vireo, so nothing was touched. "
        f"Expected {_names(expected)}; found {_names(found) or 'nothing'}.",
        "Expected, the newest first:\n" + "\n".join(expected) + "\n\nFound:\n" + ("\n".join(found) or "nothing"),
    )


def _names(files: Iterable[str]) -> str:
    return " → ".join(PurePosixPath(file).name for file in files)


def make_layer(vm: VM, disk: Disk, key: UUID, over: Layer | None = None) -> Layer:
    """An empty layer over the disk's active one, or over another."""
    link, layer = link_to(vm), rows.draft_layer(disk, key, over)
    below = layer.parent
    assert below is not None
    spec = VolumeSpec(layer.volume, disk.capacity_bytes, "qcow2", backing_path=below.path, backing_format=below.format)
    with suppress(AlreadyExists):  # from an earlier try: nothing has written to it
        pools.create_volume(link, pool_of(disk), spec)
    layer.path = pools.volume_info(link, pool_of(disk), layer.volume).path
    layer.save(update_fields=["path"])
    return layer


def unmake_layer(vm: VM, disk: Disk, key: UUID) -> None:
    """Away with a layer that is not in use after all."""
    volume = rows.layer_volume(disk, key)
    if disk.layers.filter(volume=volume).exclude(state=LayerState.FROZEN).exists():
        return
    if vm.host is not None:
        delete_volume(link_to(vm), pool_of(disk), volume)
    rows.drop_draft(disk, key)


def define_with(vm: VM, files: dict[UUID, str]) -> None:
    """Defines the domain with these qcow2 files as its disks' (id -> path)."""
    found = attachments_of(vm)
    for attachment in found:
        if attachment.disk is not None and attachment.disk.pk in files:
            attachment.disk.path, attachment.disk.format = files[attachment.disk.pk], "qcow2"
    domains.define(link_to(vm), xml_of(vm, build_spec(vm, found)))


@contextmanager
def opened(vm: VM, target: str, path: str) -> Iterator[tuple[str, str]]:
    """(domain, slot) in which the file is open: the VM itself while it runs, else a workbench."""
    if is_alive(vm):
        yield str(vm.pk), target
        return
    with workbench.workbench(link_to(vm), str(vm.pk), path, virt_type(vm)) as bench:
        yield bench, workbench.TARGET


def merge(ctx: Context, vm: VM, target: str, base: str, top: str, open_at: str) -> None:
    """Writes `top` into `base`; `open_at` is the file through which a workbench sees both."""
    with opened(vm, target, open_at) as (domain, slot):
        snapshots.merge(link_to(vm), domain, slot, base, top, ctx.progress)


def tidy(ctx: Context, vm: VM, dropping: Snapshot | None = None) -> None:
    """Merges and deletes the layers that nothing needs any more, as far as that is possible now.

    Args:
        dropping: as if this snapshot were not there.
    """
    # A worker that died after its last merge has left a definition that names a file which is gone.
    domains.define(link_to(vm), xml_of(vm, build_spec(vm)))
    for attachment in rows.attachments(vm):
        disk = attachment.disk
        assert disk is not None
        while disk.layers.exists():
            tree = rows.tree_of(disk)
            tree = tree if dropping is None else chain.unmarked(tree, str(dropping.pk))
            chore = chain.next_chore(tree, is_alive(vm))
            if chore is None:
                break
            ctx.check()
            if isinstance(chore, Drop):
                delete_volume(link_to(vm), pool_of(disk), Layer.objects.get(pk=chore.layer).volume)
                rows.dropped(disk, chore, dropping)
            else:
                _merge_chore(ctx, vm, disk, attachment.target, tree, chore, dropping)


def _merge_chore(ctx: Context, vm: VM, disk: Disk, target: str, tree: chain.Tree, chore: Merge, dropping: Snapshot | None) -> None:
    base, top = tree.nodes[chore.lower].file, tree.nodes[chore.upper].file
    ctx.log(f"{disk.name}: {_names([top])} is merged into {_names([base])}.")
    merge(ctx, vm, target, base, top, tree.nodes[chore.on_top].file if chore.on_top else top)
    rows.merged(disk, chore, dropping)
    if chore.upper == tree.active:
        domains.define(link_to(vm), xml_of(vm, build_spec(vm)))


def tidy_if_possible(ctx: Context, vm: VM) -> None:
    """The same, for jobs whose work is done without it: what is left over is tried again by the next one."""
    try:
        tidy(ctx, vm)
    except (HypervisorError, StepFailed) as error:
        ctx.log(f"Layers that nobody needs are left, and will be cleared away later: {error}")


def measure(ctx: Context, vm: VM) -> None:
    """Reads how much space each layer takes."""
    try:
        link = link_to(vm)
        for attachment in rows.attachments(vm):
            disk = attachment.disk
            assert disk is not None
            layers = list(disk.layers.exclude(path=""))
            rows.sizes((layer, pools.volume_info(link, pool_of(disk), layer.volume).allocation) for layer in layers)
    except (HypervisorError, StepFailed) as error:
        ctx.log(f"The sizes of its layers could not be read: {error}")


def delete_memory(vm: VM, snapshot: Snapshot) -> None:
    if snapshot.memory_disk is not None and snapshot.memory_volume and vm.host is not None:
        delete_volume(link_to(vm), pool_of(snapshot.memory_disk), snapshot.memory_volume)
