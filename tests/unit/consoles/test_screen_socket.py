"""The WebSocket of a screen, through the whole application, with a display that is a plain TCP server."""

import socket as sockets
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from accounts.models import Grant
from accounts.objects import find
from accounts.services import give, withdraw
from events.models import Event
from tests.build import PASSWORD, make_user
from tests.rfb_server import NAME, SERVER_INIT, RfbServer
from tests.sockets import Browser
from tests.waiting import until
from vms.consoles import reach, registry, rfb
from vms.consoles.hostsocket import MAX_WAITING_BYTES
from vms.consoles.reach import DisplayAddress
from vms.models import VM, ConsoleTicket

ANSWER = rfb.VERSION + b"\x01\x01"
GREETING = len(rfb.VERSION + rfb.WELCOME) + len(SERVER_INIT) + 4 + len(NAME)


async def _until(check: Any, seconds: float, what: str) -> Any:
    return await sync_to_async(until, thread_sensitive=False)(check, seconds, what)


async def test_the_browser_gets_the_screen_and_never_the_password(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    socket = await alice.opens(running_vm)
    assert (await socket.hear("open"))["viewers"] == [{"name": "alice", "view_only": False, "me": True}]
    greeting = await socket.bytes(GREETING)
    assert greeting.startswith(rfb.VERSION + b"\x01\x01") and greeting.endswith(NAME) and b"s3cret" not in greeting
    await socket.send(ANSWER + b"typed")
    await _until(lambda: bytes(display.received) == b"typed", 5, "what was typed to reach the display")
    await socket.leave()
    await _until(lambda: display.open == 0, 5, "the display's connection to be closed")
    kinds = await sync_to_async(
        lambda: list(Event.objects.filter(object_id=running_vm.pk).order_by("pk").values_list("kind", "user_name"))
    )()
    assert kinds == [("console.opened", "alice"), ("console.closed", "alice")]
    assert await registry.viewers("vnc", running_vm.pk) == []


async def _refused(socket: Any, ticket: str) -> tuple[str, int]:
    assert await socket.connect()
    await socket.say(ticket=ticket)
    return (await socket.hear("refused"))["code"], await socket.closed()


async def test_a_ticket_opens_once(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    ticket = await sync_to_async(alice.ticket)(running_vm)
    first = alice.socket(running_vm)
    await first.connect()
    await first.say(ticket=ticket)
    await first.hear("open")
    assert await _refused(alice.socket(running_vm), ticket) == ("ticket", 4401)
    await first.leave()


async def test_a_made_up_ticket_is_refused(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    assert await _refused(alice.socket(running_vm), "made-up") == ("ticket", 4401)
    assert display.connections == 0


async def test_an_expired_ticket_is_refused(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    ticket = await sync_to_async(alice.ticket)(running_vm)
    await ConsoleTicket.objects.aupdate(expires_at="2020-01-01T00:00:00Z")
    assert await _refused(alice.socket(running_vm), ticket) == ("ticket", 4401)


async def test_another_user_cannot_use_a_ticket_and_it_is_spent(running_vm: VM, display: RfbServer, alice: Browser, bob: Browser) -> None:
    ticket = await sync_to_async(alice.ticket)(running_vm)
    assert await _refused(bob.socket(running_vm), ticket) == ("ticket", 4401)
    assert await _refused(alice.socket(running_vm), ticket) == ("ticket", 4401)


async def test_another_session_of_the_same_user_cannot_use_a_ticket(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    ticket = await sync_to_async(alice.ticket)(running_vm)
    other = await sync_to_async(Browser)(alice.user)
    assert await _refused(other.socket(running_vm), ticket) == ("ticket", 4401)


async def test_a_ticket_for_the_serial_console_does_not_open_the_screen(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    ticket = await sync_to_async(alice.ticket)(running_vm, "serial")
    assert await _refused(alice.socket(running_vm), ticket) == ("ticket", 4401)


async def test_a_first_message_that_is_no_ticket_is_refused(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    for garbage in (b"\x00\x01", b""):
        socket = alice.socket(running_vm)
        await socket.connect()
        await socket.send(garbage)
        assert await socket.closed() == 4400


async def test_a_foreign_page_cannot_connect(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    assert not await alice.socket(running_vm, origin="http://evil.example").connect()


async def test_a_signed_out_browser_cannot_connect(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    socket = alice.socket(running_vm)
    await sync_to_async(alice.client.logout)()
    assert not await socket.connect()


async def test_a_withdrawn_grant_closes_the_console_within_two_seconds(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    admin = await sync_to_async(make_user)("root", role="SuperUser")
    socket = await alice.opens(running_vm)
    await socket.hear("open")
    grant = await Grant.objects.select_related("user", "role", "group").aget(user=alice.user)
    began = time.monotonic()
    await sync_to_async(withdraw)(admin, grant)
    assert (await socket.hear("closed"))["code"] == "forbidden"
    assert await socket.closed() == 4403
    assert time.monotonic() - began < 2
    await _until(lambda: display.open == 0, 2, "the display's connection to be closed")


async def test_a_grant_that_ends_closes_the_console_within_two_seconds(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    socket = await alice.opens(running_vm)
    await socket.hear("open")
    admin = await sync_to_async(make_user)("root", role="SuperUser")
    held = await Grant.objects.select_related("role", "user").aget(user=alice.user)
    where = await sync_to_async(find)(held.object_type, held.object_id)
    end = timezone.now() + timedelta(seconds=1)
    await sync_to_async(give)(admin, held.role, held.object_type, where, user=alice.user, expires_at=end)
    assert (await socket.hear("closed", 4))["code"] == "forbidden"
    assert end <= timezone.now() < end + timedelta(seconds=2)


async def test_a_grant_withdrawn_after_the_ticket_was_given_closes_the_door(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    ticket = await sync_to_async(alice.ticket)(running_vm)
    await Grant.objects.filter(user=alice.user).adelete()
    assert await _refused(alice.socket(running_vm), ticket) == ("ticket", 4401)


async def test_signing_out_closes_the_console(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    socket = await alice.opens(running_vm)
    await socket.hear("open")
    await sync_to_async(alice.client.post)("/sign-out/")
    assert await socket.closed(2) == 4403


async def test_who_comes_second_is_told_who_is_in_and_may_take_over(
    running_vm: VM, display: RfbServer, alice: Browser, bob: Browser
) -> None:
    first = await alice.opens(running_vm)
    await first.hear("open")
    second = await bob.opens(running_vm)
    refused = await second.hear("refused")
    assert (refused["code"], refused["holder"]) == ("busy", "alice")
    third = await bob.opens(running_vm, take_over="1")
    await third.hear("open")
    closed = await first.hear("closed")
    assert (closed["code"], closed["reason"]) == ("taken", "bob took this console over.")
    assert await first.closed() == 4409
    await third.leave()
    event = await Event.objects.filter(kind="console.opened", user_name="bob").aget()
    assert event.details["took_over_from"] == ["alice"]


async def test_a_viewer_sees_and_cannot_type(running_vm: VM, display: RfbServer, alice: Browser, bob: Browser) -> None:
    first = await alice.opens(running_vm)
    await first.hear("open")
    viewer = await bob.opens(running_vm, view_only="1")
    assert (await viewer.hear("open"))["view_only"] is True
    bob_looks_on = {"name": "bob", "view_only": True, "me": False}
    await first.hear("viewers", when=lambda said: bob_looks_on in said["viewers"])  # the first that it hears may be of its own coming
    key, ask = bytes((4, 1, 0, 0, 0, 0, 0, 0x61)), bytes((3, 1)) + bytes(8)
    await viewer.send(ANSWER + key + ask)
    await _until(lambda: len(display.received) >= 10, 5, "the viewer's question for pictures")
    assert bytes(display.received) == ask
    await viewer.leave()
    await first.leave()


async def test_one_viewer_too_many_is_refused_with_the_reason(
    running_vm: VM, display: RfbServer, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.VIEWERS_MAX, "vnc", 2)
    inside = [await alice.opens(running_vm), await alice.opens(running_vm)]
    for socket in inside:
        await socket.hear("open")
    refused = await (await alice.opens(running_vm)).hear("refused")
    assert refused["code"] == "full" and "as many viewers as QEMU allows" in refused["reason"]
    for socket in inside:
        await socket.leave()


async def test_a_display_that_is_full_says_so(running_vm: VM, alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    server = RfbServer(full=True)
    monkeypatch.setattr(reach, "find_display", lambda vm: DisplayAddress("127.0.0.1", server.port, ""))
    assert (await (await alice.opens(running_vm)).hear("refused"))["code"] == "full"
    assert await registry.viewers("vnc", running_vm.pk) == []


async def test_a_display_with_another_password_gets_ours(
    running_vm: VM, display: RfbServer, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    display.password = "changed!"

    def renew(vm: VM) -> str:
        display.password = "renewed!"
        return "renewed!"

    monkeypatch.setattr(reach, "renew_password", renew)
    socket = await alice.opens(running_vm)
    await socket.hear("open")
    await socket.leave()


async def test_a_display_that_nobody_serves_is_named(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    display.close()
    with sockets.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    reach.find_display = lambda vm: DisplayAddress("127.0.0.1", free, "")  # type: ignore[assignment]  # the fixture puts it back
    refused = await (await alice.opens(running_vm)).hear("refused")
    assert refused["code"] == "unreachable" and refused["retry"] and str(free) in refused["reason"]


async def test_the_end_of_the_display_is_told(running_vm: VM, alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    server = RfbServer(behave=lambda connection: None)
    monkeypatch.setattr(reach, "find_display", lambda vm: DisplayAddress("127.0.0.1", server.port, ""))
    socket = await alice.opens(running_vm)
    closed = await socket.hear("closed")
    assert closed["code"] == "ended" and closed["retry"] and "powered off" in closed["reason"]


async def test_a_slow_browser_stops_the_display_and_grows_no_memory(
    running_vm: VM, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vms.consoles.lines import ScreenLine

    lines: list[ScreenLine] = []
    original = ScreenLine.__init__
    monkeypatch.setattr(ScreenLine, "__init__", lambda self, *a: (lines.append(self), original(self, *a))[1])
    sent = [0]
    stuck = threading.Event()

    def flood(connection: sockets.socket) -> None:
        connection.settimeout(1)
        block = bytes(1 << 20)
        try:
            while True:
                sent[0] += connection.send(block)
        except TimeoutError:
            stuck.set()

    server = RfbServer(behave=flood)
    monkeypatch.setattr(reach, "find_display", lambda vm: DisplayAddress("127.0.0.1", server.port, ""))
    socket = await alice.opens(running_vm)
    socket.reads.clear()
    await socket.hear("open")
    await socket.send(ANSWER)
    await _until(stuck.is_set, 30, "the display to be slowed down")
    assert lines[0]._socket.waiting <= MAX_WAITING_BYTES + 256 * 1024
    assert sent[0] < 64 << 20
    await socket.leave()


def test_tickets_are_not_for_who_may_not_use_the_console(running_vm: VM, alice: Browser) -> None:
    stranger = Browser(make_user("carol"))
    assert stranger.client.post(f"/vms/{running_vm.pk}/console/ticket/").status_code == 404
    watcher = Browser(make_user("dave", role="ReadOnlyAdmin"))
    assert watcher.client.post(f"/vms/{running_vm.pk}/console/ticket/").status_code == 403
    assert PASSWORD not in str(ConsoleTicket.objects.all())


def test_a_vm_that_is_down_gives_no_ticket_but_the_reason(running_vm: VM, alice: Browser) -> None:
    VM.objects.update(status="down")
    answer = alice.client.post(f"/vms/{running_vm.pk}/console/ticket/")
    assert answer.status_code == 409 and "not running" in answer.json()["reason"]
