"""The handshake with a display, and what a viewer may send."""

import asyncio
import struct
from collections.abc import Iterator

import pytest
import uvloop

from tests.rfb_server import NAME, SERVER_INIT, RfbServer
from vms.consoles import rfb
from vms.consoles.viewonly import UnknownMessage, ViewOnlyFilter


@pytest.fixture
def server() -> Iterator[RfbServer]:
    server = RfbServer("s3cret12")
    yield server
    server.close()


def test_the_answer_to_a_challenge_is_that_of_other_vnc_programs() -> None:
    # From OpenSSL: DES-ECB of 16 zero bytes, with the bits of each byte of "password" reversed.
    assert rfb.answer_to(bytes(8), "\0" * 8).hex() == "8ca64de9c1b123a7"
    assert rfb.answer_to(bytes(16), "password").hex() == "ff97502e9422f089ff97502e9422f089"


async def test_the_right_password_opens_the_screen(server: RfbServer) -> None:
    screen = await rfb.open_screen("127.0.0.1", server.port, "s3cret12")
    assert screen.server_init == SERVER_INIT + struct.pack("!I", len(NAME)) + NAME
    screen.socket.close()


async def test_only_the_first_eight_characters_count(server: RfbServer) -> None:
    (await rfb.open_screen("127.0.0.1", server.port, "s3cret12 and more")).socket.close()


async def test_a_wrong_password_is_told_apart_from_other_refusals(server: RfbServer) -> None:
    with pytest.raises(rfb.PasswordRefused, match="Authentication failed"):
        await rfb.open_screen("127.0.0.1", server.port, "wrong")


async def test_a_display_without_password_needs_none() -> None:
    server = RfbServer()
    (await rfb.open_screen("127.0.0.1", server.port, "")).socket.close()
    server.close()


async def test_a_display_that_closes_after_the_greeting_is_full() -> None:
    server = RfbServer(full=True)
    with pytest.raises(rfb.NoRoom, match="as many viewers"):
        await rfb.open_screen("127.0.0.1", server.port, "")
    server.close()


POINTER = bytes((5, 1)) + struct.pack("!HH", 10, 20)
KEY = bytes((4, 1, 0, 0)) + struct.pack("!I", 0x61)
QEMU_KEY = bytes((255, 0)) + struct.pack("!HII", 1, 0x61, 30)
CUT = bytes((6, 0, 0, 0)) + struct.pack("!i", 5) + b"hello"
EXTENDED_CUT = bytes((6, 0, 0, 0)) + struct.pack("!i", -8) + bytes(8)
UPDATE = bytes((3, 1)) + struct.pack("!HHHH", 0, 0, 720, 400)
ENCODINGS = bytes((2, 0)) + struct.pack("!Hii", 2, 0, -223)
RESIZE = bytes((251, 0)) + struct.pack("!HHBB", 10, 10, 1, 0) + bytes(16)


def test_of_a_viewer_only_what_asks_for_pictures_passes() -> None:
    sent = ENCODINGS + POINTER + UPDATE + KEY + QEMU_KEY + CUT + EXTENDED_CUT + RESIZE + UPDATE
    assert ViewOnlyFilter().feed(sent) == ENCODINGS + UPDATE + UPDATE


def test_messages_may_come_in_any_portions() -> None:
    viewer = ViewOnlyFilter()
    sent = ENCODINGS + QEMU_KEY + CUT + UPDATE + RESIZE + UPDATE
    assert b"".join(viewer.feed(sent[at : at + 1]) for at in range(len(sent))) == ENCODINGS + UPDATE + UPDATE


def test_what_no_client_of_ours_sends_is_refused() -> None:
    with pytest.raises(UnknownMessage):
        ViewOnlyFilter().feed(b"\x63")
    with pytest.raises(UnknownMessage):
        ViewOnlyFilter().feed(bytes((6, 0, 0, 0)) + struct.pack("!i", 1 << 24))


def test_it_works_on_the_event_loop_of_production(server: RfbServer) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        screen = runner.run(rfb.open_screen("127.0.0.1", server.port, "s3cret12"))
        screen.socket.close()
