"""Live migration: the source's libvirtd does it all by itself, host to host over TLS, so it goes on when we die."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass

import libvirt

from .domain_devices import CLIPBOARD_CHANNEL
from .errors import HypervisorError, NotFound
from .links import HostLink
from .xmltools import parse, render

MIGRATION_SECONDS = 24 * 3600.0
POLL_SECONDS = 0.4


@dataclass(frozen=True)
class MigrationOptions:
    """How a guest is moved.

    Args:
        bandwidth_mib: at most so much a second, 0: no limit.
        downtime_ms: how long the guest may stand still at the end, 0: QEMU's own (300).
        auto_converge: slows the guest down when it writes faster than the network carries.
        compress: fewer bytes for more CPU.
        post_copy: when it has not ended in time, runs at the target and fetches the rest; a failure then loses the guest.
        post_copy_after_s: that time, in seconds.
    """

    bandwidth_mib: int = 0
    downtime_ms: int = 0
    auto_converge: bool = True
    compress: bool = False
    post_copy: bool = False
    post_copy_after_s: int = 60


@dataclass(frozen=True)
class MigrationProgress:
    """What libvirt says of a job. Bytes, bytes a second, milliseconds; 0 when it does not know."""

    total: int = 0
    done: int = 0
    left: int = 0
    rate: int = 0
    downtime_ms: int = 0
    elapsed_ms: int = 0


Tell = Callable[[MigrationProgress], None]


def migrate(link: HostLink, uuid: str, target: str, migrate_uri: str, options: MigrationOptions, tell: Tell) -> None:
    """Moves a running domain; returns when it runs at the target and its definition with it.

    Args:
        link: to the source.
        target: the URI by which the source's libvirtd reaches the target's.
        migrate_uri: where the guest's memory goes, "tcp://address".
        tell: called about twice a second, on the calling thread; raise in it to cancel: the guest then stays where it is.

    Raises:
        HypervisorError: it did not come about; ask both hosts where it runs.
    """
    ended: Future[None] = Future()

    def run(connection: libvirt.virConnect) -> None:
        domain = connection.lookupByUUIDString(uuid)
        parameters: dict[str, str | int] = {libvirt.VIR_MIGRATE_PARAM_URI: migrate_uri}
        if options.bandwidth_mib:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = options.bandwidth_mib
        domain.migrateToURI3(target, parameters, _flags(options))

    def in_background() -> None:
        try:
            ended.set_result(link.call_apart(run, timeout=MIGRATION_SECONDS, what=f"migrating {uuid}"))
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            ended.set_exception(error)

    threading.Thread(target=in_background, name=f"migrate-{uuid[:8]}", daemon=True).start()
    _watch(link, uuid, options, tell, lambda: bool(wait([ended], POLL_SECONDS).done))
    ended.result()


def take_clipboard(link: HostLink, uuid: str) -> bool:
    """Unplugs the clipboard's channel of a running domain: QEMU before 10.1 migrates none. Says whether there was one."""

    def run(connection: libvirt.virConnect) -> bool:
        domain = connection.lookupByUUIDString(uuid)
        channel = parse(domain.XMLDesc(0), "domain").find(f"devices/channel[@type='qemu-vdagent']/target[@name='{CLIPBOARD_CHANNEL}']/..")
        if channel is None:
            return False
        domain.detachDeviceFlags(render(channel), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        return True

    return link.call(run, what="unplugging the clipboard")


def give_clipboard(link: HostLink, uuid: str) -> None:
    """Plugs into a running domain what its definition has; fine when it is there."""

    def run(connection: libvirt.virConnect) -> None:
        domain = connection.lookupByUUIDString(uuid)
        path = f"devices/channel[@type='qemu-vdagent']/target[@name='{CLIPBOARD_CHANNEL}']/.."
        wanted = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), "domain").find(path)
        if wanted is not None and parse(domain.XMLDesc(0), "domain").find(path) is None:
            domain.attachDeviceFlags(render(wanted), libvirt.VIR_DOMAIN_AFFECT_LIVE)

    link.call(run, what="plugging the clipboard in")


def follow(link: HostLink, uuid: str, options: MigrationOptions, tell: Tell) -> None:
    """Waits for a migration that somebody else began with these options, such as a worker of ours that died."""

    def is_over() -> bool:
        time.sleep(POLL_SECONDS)  # libvirt has no event for "no job any more" in 9.0
        return progress_of(link, uuid) is None

    _watch(link, uuid, options, tell, is_over)


def _watch(link: HostLink, uuid: str, options: MigrationOptions, tell: Tell, is_over: Callable[[], bool]) -> None:
    """Once its memory is fetched by the target nothing can call the migration back: `abort` does nothing then."""
    downtime_asked = switched = False
    try:
        while not is_over():
            seen = progress_of(link, uuid)
            if seen is None:
                continue
            if options.downtime_ms and not downtime_asked:
                downtime_asked = True
                with suppress(HypervisorError):
                    link.call(lambda connection: _set_downtime(connection, uuid, options.downtime_ms), what="setting the downtime")
            if options.post_copy and not switched and seen.elapsed_ms >= options.post_copy_after_s * 1000:
                switched = True
                with suppress(HypervisorError):
                    link.call(lambda connection: _start_post_copy(connection, uuid), what="going on at the target")
            tell(seen)
    except BaseException:
        abort(link, uuid)
        while not is_over():
            continue
        raise


def _set_downtime(connection: libvirt.virConnect, uuid: str, milliseconds: int) -> None:
    connection.lookupByUUIDString(uuid).migrateSetMaxDowntime(milliseconds, 0)


def _start_post_copy(connection: libvirt.virConnect, uuid: str) -> None:
    connection.lookupByUUIDString(uuid).migrateStartPostCopy(0)


def _flags(options: MigrationOptions) -> int:
    flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_TLS
    flags |= libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE if options.auto_converge else 0
    flags |= libvirt.VIR_MIGRATE_COMPRESSED if options.compress else 0
    flags |= libvirt.VIR_MIGRATE_POSTCOPY if options.post_copy else 0
    return flags


def progress_of(link: HostLink, uuid: str) -> MigrationProgress | None:
    """How far the domain's job is; None when it has none, or is not there."""
    return _stats(link, uuid, 0)


def completed(link: HostLink, uuid: str) -> MigrationProgress | None:
    """What the last migration took, as the host where the domain arrived tells; None when it does not know."""
    return _stats(link, uuid, libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)


def _stats(link: HostLink, uuid: str, flags: int) -> MigrationProgress | None:
    def run(connection: libvirt.virConnect) -> MigrationProgress | None:
        found = connection.lookupByUUIDString(uuid).jobStats(flags)
        if found.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
            return None
        return MigrationProgress(
            total=found.get("data_total", 0),
            done=found.get("data_processed", 0),
            left=found.get("data_remaining", 0),
            rate=found.get("memory_bps", 0),
            downtime_ms=found.get("downtime", 0),
            elapsed_ms=found.get("time_elapsed", 0),
        )

    try:
        return link.call(run, what="reading the progress of a migration")
    except NotFound:
        return None


def abort(link: HostLink, uuid: str) -> None:
    """Ends the domain's job, if it has one that can be ended. The guest stays where it is."""
    with suppress(HypervisorError):
        link.call(lambda connection: connection.lookupByUUIDString(uuid).abortJob(), what="ending a migration")
