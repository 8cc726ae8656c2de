"""The one libvirt event loop of this process: keepalive, events and streams all need it running."""

import threading

import libvirt

_lock = threading.Lock()
_thread: threading.Thread | None = None


def _ignore(_context: object, _error: object) -> None:
    """libvirt's default handler prints each error to stderr; ours are raised as exceptions instead."""


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def ensure_event_loop() -> None:
    """Start the loop's thread once; must come before the first connection of the process."""
    global _thread
    with _lock:
        if _thread is None:
            libvirt.registerErrorHandler(_ignore, None)
            libvirt.virEventRegisterDefaultImpl()
            _thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
            _thread.start()
