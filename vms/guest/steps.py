"""The seed CD on its host: written by the job that makes the VM, made anew before a start where settings changed, deleted with the VM."""

import io

from hypervisor import domains
from hypervisor import storage as pools
from hypervisor.errors import AlreadyExists, NotFound
from hypervisor.spec import VolumeSpec
from jobs.context import Context
from jobs.engine import register
from jobs.errors import StepFailed
from jobs.kinds import StepDef
from storage import observe as storage_observe
from storage.models import Disk, DiskContent, StorageKind
from storage.on_host import link_for
from vms.guest.first_boot import seed_of
from vms.guest.models import FirstBootSettings
from vms.guest.seed import SEED_BYTES, SeedFor, image
from vms.guest.settings import SetUpBy
from vms.models import VM
from vms.spec import attachments_of, build_spec
from vms.steps import delete_volume, is_alive, link_to, vm_of, xml_of


def write(ctx: Context) -> None:
    """The first CD of a new VM, whose empty volume is there; nothing where there are no settings."""
    vm = vm_of(ctx)
    row = FirstBootSettings.objects.filter(vm=vm).first()
    if row is not None and row.by != SetUpBy.NONE:
        _write(vm, row)


def _write(vm: VM, row: FirstBootSettings) -> None:
    """Safe to repeat: the same bytes go to the same place, and `written` is noted last."""
    attachment = seed_of(vm)
    if attachment is None or attachment.disk is None or attachment.disk.domain is None:
        raise StepFailed(f"The CD for the first boot settings of {vm.name} is gone: save them again.")
    disk, link = attachment.disk, link_to(vm)
    domain = attachment.disk.domain
    if domain.kind == StorageKind.LOCAL_DIR and disk.host_id is None:
        Disk.objects.filter(pk=disk.pk).update(host=vm.host)
    try:
        if disk.path and disk.volume_name not in pools.volume_names(link, domain.pool_name):
            pools.refresh_pool(link, domain.pool_name)  # another host made it, and this one has not looked since
        pools.create_volume(link, domain.pool_name, VolumeSpec(disk.volume_name, SEED_BYTES, disk.format))
    except AlreadyExists:
        pass  # of an earlier revision, or an earlier try
    except NotFound as error:
        raise StepFailed(f"Storage domain {domain.name} is not ready on {vm.host}: {error}", str(error)) from None
    nics = [(nic.name, nic.mac) for nic in vm.nics.order_by("name")]
    data = image(row.settings, SeedFor(vm.name, f"{vm.pk}-{row.revision}", nics))
    pools.upload(link, domain.pool_name, disk.volume_name, io.BytesIO(data), len(data))
    info = pools.volume_info(link, domain.pool_name, disk.volume_name)
    storage_observe.disk_ready(disk, info.path, info.allocation)
    FirstBootSettings.objects.filter(pk=row.pk).update(written=row.revision)


def renew(ctx: Context, vm: VM) -> None:
    """Brings the CD of a VM that is down up to its settings, and the domain to its CD."""
    row = FirstBootSettings.objects.filter(vm=vm).first()
    if row is None or row.written == row.revision or is_alive(vm):
        return
    if row.by == SetUpBy.NONE:
        _take_out(vm, row)
        ctx.log("The CD with first boot settings was taken out.")
        return
    _write(vm, row)
    domains.define(link_to(vm), xml_of(vm, build_spec(vm)))
    ctx.log("The CD with first boot settings was written.")


def _take_out(vm: VM, row: FirstBootSettings) -> None:
    """The definition first: no domain names a file that is gone. The rows last: a second try still knows them."""
    rest = [attachment for attachment in attachments_of(vm) if attachment.disk is None or attachment.disk.content != DiskContent.SEED]
    domains.define(link_to(vm), xml_of(vm, build_spec(vm, attachments=rest)))
    delete(vm)
    row.delete()


def delete(vm: VM) -> None:
    """The CD's volume and rows; missing is fine."""
    for disk in Disk.objects.select_related("domain", "host__cluster").filter(attachments__vm=vm, content=DiskContent.SEED):
        if disk.domain is not None and (disk.path or vm.host_id is not None):
            _host, link = link_for(disk)
            delete_volume(link, disk.domain.pool_name, disk.volume_name)
        vm.attachments.filter(disk=disk).delete()
        disk.delete()


def _renew(ctx: Context) -> None:
    renew(ctx, vm_of(ctx))


register("vm.first_boot", [StepDef("write", "Write the CD", _renew)], cancellable=False)
