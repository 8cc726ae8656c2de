"""Consoles in the audit log: opened, closed, refused; by whom, of what, from where."""

from asgiref.sync import sync_to_async

from audit.models import Channel, Entry, Outcome
from tests.rfb_server import RfbServer
from tests.sockets import Browser
from tests.waiting import until
from vms.models import VM


def _found(action: str) -> list[Entry]:
    return list(Entry.objects.filter(action=action))


async def test_a_console_is_told_when_it_opens_and_when_it_closes(running_vm: VM, display: RfbServer, alice: Browser) -> None:
    socket = await alice.opens(running_vm)
    await socket.hear("open")
    [opened] = await sync_to_async(_found)("console.opened")
    assert (opened.actor_name, opened.object_id, opened.object_name) == ("alice", str(running_vm.pk), running_vm.name)
    assert (opened.channel, opened.outcome, opened.details["console"]) == (Channel.PAGE, Outcome.DONE, "vnc")
    await socket.leave()
    await sync_to_async(until, thread_sensitive=False)(lambda: _found("console.closed"), 5, "the end of the console to be written down")
    [closed] = await sync_to_async(_found)("console.closed")
    assert closed.actor_name == "alice" and closed.details["why"] == "left"


async def test_a_ticket_that_is_not_good_is_a_refused_attempt(running_vm: VM, display: RfbServer, alice: Browser, bob: Browser) -> None:
    ticket = await sync_to_async(alice.ticket)(running_vm)
    socket = bob.socket(running_vm)
    await socket.connect()
    await socket.say(ticket=ticket)
    await socket.hear("refused")
    [refused] = await sync_to_async(_found)("console.refused")
    assert (refused.actor_name, refused.outcome, refused.object_name) == ("bob", Outcome.REFUSED, running_vm.name)
    assert ticket not in str(await sync_to_async(lambda: list(Entry.objects.values()))())
