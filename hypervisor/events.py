"""What happens on a host, as it happens: libvirt's callbacks turned into values."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import libvirt

from .domain_state import constants
from .errors import HypervisorError, NotSupported, OperationFailed, translate
from .links import HostLink, LinkState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DomainEvent:
    """Something happened to a domain.

    Args:
        kind: "defined", "undefined", "started", "suspended", "resumed", "stopped", "shutdown", "pmsuspended", "crashed",
            "reboot", "watchdog", "io-error", "graphics", "device-added", "device-removed", "device-removal-failed", "agent",
            "metadata", "block-job", "tray".
        detail: libvirt's word for the reason ("booted", "destroyed", "ioerror", ...), the device, or what became of it.
        at: when we heard of it, aware UTC.
    """

    uuid: str
    name: str
    kind: str
    detail: str
    at: datetime


@dataclass(frozen=True)
class ObjectEvent:
    """Something happened to a network or a storage pool.

    Args:
        type: "network" or "pool".
        kind: "defined", "undefined", "started", "stopped", "created", "deleted", "refreshed".
    """

    type: str
    uuid: str
    name: str
    kind: str
    at: datetime


@dataclass(frozen=True)
class LinkEvent:
    """The connection came up, and everything must be read anew, or went down. `error` is None when it is up."""

    up: bool
    error: HypervisorError | None
    at: datetime


Event = DomainEvent | ObjectEvent | LinkEvent
Sink = Callable[[Event], None]

_LIFECYCLE = {
    getattr(libvirt, f"VIR_DOMAIN_EVENT_{name}"): (name.lower(), constants(f"VIR_DOMAIN_EVENT_{name}_"))
    for name in ("DEFINED", "UNDEFINED", "STARTED", "SUSPENDED", "RESUMED", "STOPPED", "SHUTDOWN", "PMSUSPENDED", "CRASHED")
}
_NETWORK = constants("VIR_NETWORK_EVENT_", "VIR_NETWORK_EVENT_ID_")
_POOL = constants("VIR_STORAGE_POOL_EVENT_", "VIR_STORAGE_POOL_EVENT_ID_")
_WATCHDOG = constants("VIR_DOMAIN_EVENT_WATCHDOG_")
_GRAPHICS = constants("VIR_DOMAIN_EVENT_GRAPHICS_", "VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_")
_AGENT = constants("VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_")
_TRAY = constants("VIR_DOMAIN_EVENT_TRAY_CHANGE_")
_BLOCK_JOB = {
    libvirt.VIR_DOMAIN_BLOCK_JOB_COMPLETED: "completed",
    libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED: "failed",
    libvirt.VIR_DOMAIN_BLOCK_JOB_CANCELED: "canceled",
    libvirt.VIR_DOMAIN_BLOCK_JOB_READY: "ready",
}

# event id, kind, detail of what the callback gets after connection and domain (the last of which is the opaque)
_GENERIC: tuple[tuple[int, str, Callable[..., str]], ...] = (
    (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, "reboot", lambda *_: ""),
    (libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG, "watchdog", lambda action, _: _WATCHDOG.get(action, "")),
    (
        libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
        "io-error",
        lambda _path, alias, _action, reason, _: f"{alias}: {reason or 'input/output error'}",
    ),
    (libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS, "graphics", lambda phase, *_: _GRAPHICS.get(phase, "")),
    (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, "device-added", lambda alias, _: alias),
    (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, "device-removed", lambda alias, _: alias),
    (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, "device-removal-failed", lambda alias, _: alias),
    (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, "agent", lambda state, _reason, _: _AGENT.get(state, "")),
    (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, "metadata", lambda _type, uri, _: uri or ""),
    (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, "block-job", lambda disk, _type, status, _: f"{disk}: {_BLOCK_JOB.get(status, '')}"),
    (libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, "tray", lambda alias, reason, _: f"{alias}: {_TRAY.get(reason, '')}"),
)


class HostObserver:
    """Hears what happens on one host, through reconnects, until closed. A link may have several.

    Args:
        link: connected by `start` when it is new.
        sink: called with each event, one at a time, on libvirt's event thread or the link's: it must return at once, and must not
            call the host. Anything that it needs done goes into a queue.
    """

    def __init__(self, link: HostLink, sink: Sink) -> None:
        self._link = link
        self._sink = sink
        self._turn = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self._closed = False

    def start(self) -> None:
        """Register. A LinkEvent(up=True) follows each connection, when events flow already: read the whole host then.

        When the link is being connected just now there may be two of them.
        """
        self._ends = [self._link.on_state(self._on_state)]
        was_up = self._link.state is LinkState.UP
        self._ends.append(_join(self._link, self._emit))
        if was_up:
            self._on_state(LinkState.UP, None)

    def close(self) -> None:
        """Hear nothing more. No event comes after it."""
        with self._turn:
            self._closed = True
            ends, self._ends = self._ends, []
        for end in ends:
            end()

    def _on_state(self, state: LinkState, error: HypervisorError | None) -> None:
        if state in (LinkState.UP, LinkState.DOWN):
            self._emit(LinkEvent(state is LinkState.UP, error, datetime.now(UTC)))

    def _emit(self, event: Event) -> None:
        with self._turn:
            if self._closed:
                return
            try:
                self._sink(event)
            except Exception:  # libvirt would swallow it
                log.exception("event sink of %s failed", self._link.address)


class _Hub:
    """libvirt's callbacks on one link, for all its observers: libvirt refuses a second registration on one connection."""

    def __init__(self, link: HostLink) -> None:
        self._address = link.address
        self.sinks: list[Sink] = []
        self.lock = threading.Lock()
        self.detach: Callable[[], None] = _nothing

    def _emit(self, event: Event) -> None:
        for sink in list(self.sinks):
            sink(event)

    def _emit_domain(self, domain: libvirt.virDomain, kind: str, detail: str) -> None:
        self._emit(DomainEvent(domain.UUIDString(), domain.name(), kind, detail, datetime.now(UTC)))

    def register(self, connection: libvirt.virConnect) -> Callable[[], None]:
        """Register what the driver knows. Returns what takes it all off again: libvirt keeps a connection alive while it has callbacks."""
        undo: list[Callable[[], Any]] = []

        def register(add: Callable[..., int], remove: Callable[[int], Any], event: int, callback: Callable[..., None]) -> None:
            try:
                number = add(None, event, callback, None)
            except libvirt.libvirtError as error:
                # Drivers say "not supported", older hosts "unknown event".
                if not isinstance(translate(error), NotSupported | OperationFailed):
                    raise
                log.info("%s has no events of number %d: %s", self._address, event, error)
            else:
                undo.append(lambda: remove(number))

        def domain(event: int, callback: Callable[..., None]) -> None:
            register(connection.domainEventRegisterAny, connection.domainEventDeregisterAny, event, callback)

        domain(libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle)
        for event, kind, detail in _GENERIC:
            domain(event, self._generic(kind, detail))
        networks = (connection.networkEventRegisterAny, connection.networkEventDeregisterAny)
        register(*networks, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, self._object("network", _NETWORK))
        pools = (connection.storagePoolEventRegisterAny, connection.storagePoolEventDeregisterAny)
        register(*pools, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, self._object("pool", _POOL))
        register(*pools, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH, self._object("pool", {}))

        def cleanup() -> None:
            while undo:
                with suppress(libvirt.libvirtError):
                    undo.pop()()

        return cleanup

    def _on_lifecycle(self, _connection: libvirt.virConnect, domain: libvirt.virDomain, event: int, detail: int, _opaque: None) -> None:
        kind, details = _LIFECYCLE.get(event, (f"event-{event}", {}))
        self._emit_domain(domain, kind, details.get(detail, ""))

    def _generic(self, kind: str, detail: Callable[..., str]) -> Callable[..., None]:
        def callback(_connection: libvirt.virConnect, domain: libvirt.virDomain, *rest: Any) -> None:
            self._emit_domain(domain, kind, detail(*rest))

        return callback

    def _object(self, type_: str, kinds: dict[int, str]) -> Callable[..., None]:
        def callback(_connection: libvirt.virConnect, item: Any, *rest: Any) -> None:
            kind = kinds.get(rest[0], "") if kinds else "refreshed"
            self._emit(ObjectEvent(type_, item.UUIDString(), item.name(), kind, datetime.now(UTC)))

        return callback


_hubs: WeakKeyDictionary[HostLink, _Hub] = WeakKeyDictionary()
_hubs_lock = threading.Lock()


def _join(link: HostLink, sink: Sink) -> Callable[[], None]:
    """Add a sink to the link's hub, made for the first one. Returns what takes it off; the last one takes libvirt's callbacks with it."""
    with _hubs_lock:
        hub = _hubs.setdefault(link, _Hub(link))
    with hub.lock:  # of one host: attaching may wait for it
        hub.sinks.append(sink)
        if len(hub.sinks) == 1:
            hub.detach = link.attach(hub.register)

    def leave() -> None:
        with hub.lock:
            hub.sinks.remove(sink)
            if not hub.sinks:
                hub.detach()
                hub.detach = _nothing  # it holds the link

    return leave


def _nothing() -> None:
    pass
