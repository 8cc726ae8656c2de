"""A VNC display for unit tests and as a source of load: it shakes hands like QEMU's, then does what it is told."""

import socket
import struct
import threading
from collections.abc import Callable

from vms.consoles.rfb import answer_to

CHALLENGE = bytes(range(16))
SERVER_INIT = struct.pack("!HH", 720, 400) + bytes((32, 24, 0, 1)) + struct.pack("!HHH", 255, 255, 255) + bytes((16, 8, 0, 0, 0, 0))
NAME = b"QEMU (test)"


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise ConnectionResetError
        data += chunk
    return data


class RfbServer:
    """Listens on 127.0.0.1.

    Args:
        password: wants VNC authentication with it; empty: no authentication.
        behave: called with the connection after the handshake; by default what comes is kept in `received`.
        full: closes after ClientInit, as QEMU does with one viewer too many.
    """

    def __init__(self, password: str = "", behave: Callable[[socket.socket], None] | None = None, *, full: bool = False) -> None:
        self.password, self.full = password, full
        self.received = bytearray()
        self.connections = 0
        self.open = 0
        self._behave = behave or self._keep
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self.open += 1
        try:
            with connection:
                self._shake_hands(connection)
        except OSError:
            pass
        finally:
            self.open -= 1

    def _shake_hands(self, connection: socket.socket) -> None:
        connection.sendall(b"RFB 003.008\n")
        _exactly(connection, 12)
        connection.sendall(b"\x01\x02" if self.password else b"\x01\x01")
        _exactly(connection, 1)
        if self.password:
            connection.sendall(CHALLENGE)
            if _exactly(connection, 16) != answer_to(CHALLENGE, self.password):
                reason = b"Authentication failed"
                connection.sendall(struct.pack("!II", 1, len(reason)) + reason)
                return
        connection.sendall(bytes(4))
        _exactly(connection, 1)
        if not self.full:
            connection.sendall(SERVER_INIT + struct.pack("!I", len(NAME)) + NAME)
            self._behave(connection)

    def _keep(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            self.received += data
