"""Opening a connection within a time limit, which libvirt itself does not have."""

import threading
import time
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress

import libvirt

from .address import HostAddress
from .errors import CallTimeout, HostUnreachable, HypervisorError, translate
from .loop import ensure_event_loop
from .probe import probe

# Attempts that may hang inside libvirt at the same time; the probe before each makes even one rare.
MAX_HANGING = 4
# ssh logs in first; TLS needs 70 ms on a healthy host.
_SECONDS = {"tls": 5.0, "tcp": 5.0}
_SECONDS_OTHER = 15.0


class Opener:
    """Opens connections to one address."""

    def __init__(self, address: HostAddress) -> None:
        self._address = address
        self._name = address.host or address.uri
        self._free = threading.Semaphore(MAX_HANGING)
        self._limit = _SECONDS.get(address.transport, _SECONDS_OTHER)

    def open(self, within: float | None = None) -> libvirt.virConnect:
        """A fresh connection; an attempt that hangs is left behind, and closes what it gets.

        Args:
            within: seconds, where less than the transport's own limit.

        Raises:
            HostUnreachable, with CallTimeout and CertificateRefused among them.
        """
        limit = self._limit if within is None else min(within, self._limit)
        deadline = time.monotonic() + limit
        if not self._free.acquire(timeout=limit):
            raise HostUnreachable(f"{self._name}: earlier attempts to connect still hang")
        future: Future[libvirt.virConnect] = Future()
        threading.Thread(target=self._open_into, args=(future, limit), name=f"open-{self._name}", daemon=True).start()
        wait([future], max(0.0, deadline - time.monotonic()))
        if future.cancel():
            raise CallTimeout(f"{self._name} does not answer within {limit:.3g} s")
        return future.result()

    def _open_into(self, future: "Future[libvirt.virConnect]", limit: float) -> None:
        outcome: HypervisorError
        try:
            ensure_event_loop()
            probe(self._address, limit)
            connection = libvirt.open(self._address.connect_uri)
        except libvirt.libvirtError as error:
            refused = translate(error)
            outcome = refused if isinstance(refused, HostUnreachable) else HostUnreachable(refused.message, refused.code, refused.domain)
        except HypervisorError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the waiting thread must hear of it
            outcome = HostUnreachable(f"{self._name}: {error}")
        else:
            try:
                future.set_result(connection)
            except InvalidStateError:
                connection.close()  # nobody waits any more
            return
        finally:
            self._free.release()
        with suppress(InvalidStateError):
            future.set_exception(outcome)
