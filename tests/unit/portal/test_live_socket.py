"""The live socket: who is told what, on a real Redis."""

import json
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.utils import timezone

from accounts import services
from accounts.models import Role
from accounts.permissions import grant
from portal.live import group_of
from tests.build import make_user, make_vm
from tests.sockets import Browser, Socket

pytestmark = pytest.mark.django_db(transaction=True)


async def connect(user):
    socket = (await sync_to_async(Browser)(user)).live()
    assert await socket.connect()
    return socket


async def subscribe(socket, *topics):
    await socket.say(op="subscribe", topics=topics)
    return await socket.hear("subscribed")


async def hears_nothing(socket):
    """Whatever was sent before a ping would come before its pong."""
    await socket.say(op="ping")
    message = json.loads((await socket.receive())["text"])
    assert message == {"op": "pong"}


def change(vm):
    return {"type": "live.change", "object_type": "vm", "id": str(vm.pk), "change": "changed", "rev": 2, "facts": {"status": "up"}}


async def test_a_change_reaches_who_may_see_it_and_nobody_else():
    vm, secret = await sync_to_async(make_vm)(), await sync_to_async(make_vm)()
    user = await sync_to_async(make_user)(role="UserRole", on=vm)
    socket = await connect(user)
    answer = await subscribe(socket, "vm", f"vm:{vm.pk}", f"vm:{secret.pk}", f"metrics:vm:{secret.pk}", "nonsense", "vm:no-id")
    assert set(answer["topics"]) == {"vm", f"vm:{vm.pk}"}
    assert set(answer["refused"]) == {f"vm:{secret.pk}", f"metrics:vm:{secret.pk}", "nonsense", "vm:no-id"}
    layer = get_channel_layer()
    await layer.group_send(group_of("vm"), change(secret))
    await layer.group_send(group_of("vm"), change(vm))
    message = await socket.hear("change")
    assert (message["op"], message["id"], message["facts"]) == ("change", str(vm.pk), {"status": "up"})
    await hears_nothing(socket)
    await socket.leave()


async def test_a_grant_that_ends_takes_its_subscriptions_along():
    vm = await sync_to_async(make_vm)()
    admin = await sync_to_async(make_user)(role="SuperUser")
    user = await sync_to_async(make_user)()
    role = await Role.objects.aget(name="UserRole")
    end = timezone.now() + timedelta(seconds=1)
    await sync_to_async(services.give)(admin, role, "vm", vm, user=user, expires_at=end)
    socket = await connect(user)
    assert (await subscribe(socket, f"vm:{vm.pk}"))["topics"] == [f"vm:{vm.pk}"]
    assert (await socket.hear("revoked", 3))["topics"] == [f"vm:{vm.pk}"]
    assert end <= timezone.now() < end + timedelta(seconds=2)
    await socket.leave()


async def test_a_withdrawn_grant_ends_its_subscriptions_at_once():
    vm = await sync_to_async(make_vm)()
    admin = await sync_to_async(make_user)(role="SuperUser")
    user = await sync_to_async(make_user)()
    given = await sync_to_async(grant)("UserRole", vm, user=user)
    socket = await connect(user)
    assert (await subscribe(socket, f"vm:{vm.pk}"))["topics"] == [f"vm:{vm.pk}"]
    await sync_to_async(services.withdraw)(admin, given)
    assert (await socket.hear("revoked", 2))["topics"] == [f"vm:{vm.pk}"]
    await get_channel_layer().group_send(group_of("vm"), change(vm))
    await hears_nothing(socket)
    await socket.leave()


async def test_a_deactivated_user_is_disconnected():
    admin = await sync_to_async(make_user)(role="SuperUser")
    user = await sync_to_async(make_user)()
    socket = await connect(user)
    await hears_nothing(socket)
    await sync_to_async(services.set_active)(admin, user, False)
    assert await socket.closed() == 4401


async def test_who_is_not_signed_in_is_closed_out():
    socket = Socket("/ws/live", [(b"origin", b"http://localhost"), (b"host", b"localhost")])
    assert await socket.connect()
    assert await socket.closed() == 4401


@pytest.mark.parametrize("text", ["{", "[]", '{"op": 7}', '{"op": "subscribe", "topics": 3}', "x" * 70_000])
async def test_garbage_is_answered_and_the_socket_lives_on(text):
    socket = await connect(await sync_to_async(make_user)())
    await socket.say_raw(text)
    assert json.loads((await socket.receive())["text"])["op"] in ("error", "subscribed")
    await hears_nothing(socket)
    await socket.leave()


async def test_too_many_topics_are_refused():
    vm = await sync_to_async(make_vm)()
    socket = await connect(await sync_to_async(make_user)(role="SuperUser"))
    answer = await subscribe(socket, f"vm:{vm.pk}", *(f"x{number}" for number in range(600)))
    assert answer["topics"] == [f"vm:{vm.pk}"]
    await socket.leave()


async def test_a_page_of_another_site_opens_no_socket():
    socket = (await sync_to_async(Browser)(await sync_to_async(make_user)())).live(origin="https://evil.example")
    assert not await socket.connect()
