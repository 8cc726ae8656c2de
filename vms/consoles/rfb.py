"""The RFB (VNC) handshakes: ours with the host, as a client with the password, and the one that the browser sees, without.

RFC 6143, section 7. The browser's client is our own bundle, so it is offered one protocol version and one security type.
"""

import asyncio
import struct
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from vms.consoles.hostsocket import HostSocket, connect

VERSION = b"RFB 003.008\n"
NONE, VNC_AUTH = 1, 2
HANDSHAKE_SECONDS = 8.0
MAX_TEXT = 4096

# Shown to the browser after our version: one security type (None), and that it succeeded.
WELCOME = bytes((1, NONE)) + bytes(4)
# What it answers to that: its version, the type it chose, and whether it shares the display.
ANSWER_LENGTH = len(VERSION) + 2


class RfbError(Exception):
    """The display does not let us in. The text is for the person who opened the console."""


class PasswordRefused(RfbError):
    """The display has another password than the one we know."""


class NoRoom(RfbError):
    """The display closes as soon as we are in: QEMU does so when it has as many viewers as it allows."""


@dataclass(frozen=True)
class Screen:
    """A display that has let us in.

    Args:
        server_init: RFB's ServerInit message as the host sent it: size, pixel format, name.
    """

    socket: HostSocket
    server_init: bytes


def answer_to(challenge: bytes, password: str) -> bytes:
    """The response of RFB's VNC authentication. Its DES reads each byte of the key from the lowest bit."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode("latin-1", "replace")[:8].ljust(8, b"\0"))
    # Three times the same key is single DES; it is no secret from anyone on the wire, and the protocol knows no better.
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S304, S305  # nosec B305 # see above
    return encryptor.update(challenge) + encryptor.finalize()


async def open_screen(address: str, port: int, password: str) -> Screen:
    """Connects to a display as one of several viewers.

    Raises:
        OSError, TimeoutError: nobody answers there.
        RfbError: see its subclasses.
    """
    socket = await connect(address, port, HANDSHAKE_SECONDS)
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            return await _shake_hands(socket, password)
    except BaseException as error:
        socket.close()
        if isinstance(error, ConnectionResetError):
            raise RfbError("The display closed the connection during the handshake.") from None
        raise


async def _shake_hands(socket: HostSocket, password: str) -> Screen:
    greeting = await socket.read_exactly(len(VERSION))
    if not greeting.startswith(b"RFB "):
        raise RfbError("What answers at the display's port is no VNC server.")
    if greeting < b"RFB 003.007\n":
        raise RfbError(f"The display speaks an old protocol ({greeting[4:11].decode('latin-1')}); 3.7 is needed.")
    await socket.write(VERSION)
    count = (await socket.read_exactly(1))[0]
    if not count:
        raise RfbError(f"The display refuses: {await _text(socket)}")
    offered = await socket.read_exactly(count)
    if NONE in offered:
        await socket.write(bytes((NONE,)))
    elif VNC_AUTH in offered:
        await socket.write(bytes((VNC_AUTH,)))
        await socket.write(answer_to(await socket.read_exactly(16), password))
    else:
        raise RfbError(f"The display wants an authentication that Vireo does not speak (types {', '.join(map(str, offered))}).")
    await _check_result(socket)
    await socket.write(b"\x01")
    try:
        head = await socket.read_exactly(24)
    except ConnectionResetError:
        raise NoRoom("The display has as many viewers as QEMU allows. Try again when one has left.") from None
    length = struct.unpack("!I", head[20:])[0]
    if length > MAX_TEXT:
        raise RfbError("The display's name is too long to be true.")
    return Screen(socket, head + await socket.read_exactly(length))


async def _check_result(socket: HostSocket) -> None:
    if await socket.read_exactly(4) == bytes(4):
        return
    try:
        reason = await _text(socket)
    except ConnectionResetError:
        reason = ""
    raise PasswordRefused(f"The display refuses the password{': ' + reason if reason else ''}.")


async def _text(socket: HostSocket) -> str:
    length = struct.unpack("!I", await socket.read_exactly(4))[0]
    return (await socket.read_exactly(min(length, MAX_TEXT))).decode("utf-8", "replace")


def is_answer(data: bytes) -> bool:
    """True for what our bundle sends in answer to VERSION and WELCOME."""
    return len(data) == ANSWER_LENGTH and data.startswith(VERSION) and data[len(VERSION)] == NONE
