"""Consoles of a real guest in a real QEMU: its screen, its keyboard, its serial line."""

import asyncio
import struct
import zlib

import libvirt
import pytest
from asgiref.sync import sync_to_async

from hosts.connect import link_of
from hypervisor import domains
from hypervisor.errors import HypervisorError
from hypervisor.guests import agent_info
from hypervisor.serial import SerialSession
from jobs.models import JobStatus
from portal.secrets import decrypt
from tests.build import make_user
from tests.lab.conftest import Registered
from tests.sockets import Browser, Socket
from tests.waiting import until
from vms import services
from vms.consoles import reach, registry, rfb, thumbnails
from vms.models import VM

SHIFT, ENTER = 0xFFE1, 0xFF0D
NEEDS_SHIFT = '>"$()*'


def _agent_answers(vm: VM) -> bool:
    try:
        return agent_info(link_of(vm.host), str(vm.pk)).hostname == "tiny"
    except HypervisorError:
        return False


@pytest.fixture
def vm(registered: Registered) -> VM:
    """A guest whose shells wait on its screen and on its serial console."""
    new = services.NewVm(name="web-01", cluster=registered.cluster, template=registered.template, memory_mib=128, start=True)
    made, job = services.create(registered.admin, new)
    assert registered.run(job).status == JobStatus.SUCCEEDED, job.error
    made = VM.objects.select_related("host", "cluster").get(pk=made.pk)
    until(lambda: _agent_answers(made), 60, "the guest's agent to answer", every=0.3)
    return made


@pytest.fixture
def alice(registered: Registered) -> Browser:
    return Browser(make_user("alice", role="UserRole"))


class Screen:
    """As much of a VNC client as it takes to see and to type."""

    def __init__(self, socket: Socket) -> None:
        self._socket, self._data = socket, b""
        self.pixels = bytearray()

    async def open(self) -> "Screen":
        opened = await self._socket.hear("open", 20)
        assert opened["viewers"]
        head = await self._exactly(len(rfb.VERSION + rfb.WELCOME))
        assert head == rfb.VERSION + rfb.WELCOME
        self.width, self.height = struct.unpack("!HH", await self._exactly(4))
        await self._exactly(16)
        assert b"web-01" in await self._exactly(struct.unpack("!I", await self._exactly(4))[0])
        self.pixels = bytearray(self.width * self.height * 4)
        await self._socket.send(rfb.VERSION + b"\x01\x01" + struct.pack("!BxHi", 2, 1, 0))
        return self

    async def _exactly(self, count: int) -> bytes:
        while len(self._data) < count:
            self._data += await self._socket.bytes(1, 20)
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    async def update(self, incremental: bool = False) -> bytes:
        """The screen after the next update."""
        await self._socket.send(struct.pack("!BBHHHH", 3, incremental, 0, 0, self.width, self.height))
        while (kind := (await self._exactly(1))[0]) != 0:
            assert kind == 2, "a bell is all that may come before the update"
        for _ in range(struct.unpack("!xH", await self._exactly(3))[0]):
            x, y, width, height, encoding = struct.unpack("!HHHHi", await self._exactly(12))
            assert encoding == 0
            for row in range(y, y + height):
                at = (row * self.width + x) * 4
                self.pixels[at : at + width * 4] = await self._exactly(width * 4)
        return bytes(self.pixels)

    async def key(self, keysym: int, down: bool) -> None:
        await self._socket.send(struct.pack("!BBxxI", 4, down, keysym))

    async def type(self, text: str) -> None:
        for character in text:
            keysym = ENTER if character == "\n" else ord(character)
            if character in NEEDS_SHIFT:
                await self.key(SHIFT, True)
            await self.key(keysym, True)
            await self.key(keysym, False)
            if character in NEEDS_SHIFT:
                await self.key(SHIFT, False)


async def _reads(socket: Socket, wanted: bytes, seconds: float = 20) -> bytes:
    """What the serial console says until the wanted bytes are in it."""
    heard = b""
    async with asyncio.timeout(seconds):
        while wanted not in heard:
            heard += await socket.bytes(1, seconds)
    return heard


async def test_the_screen_shows_the_guest_and_typing_reaches_it(vm: VM, alice: Browser) -> None:
    screen = await Screen(await alice.opens(vm)).open()
    serial = await alice.opens(vm, "serial")
    await serial.hear("open", 20)
    before = await screen.update()
    assert len(set(before)) > 1, "the screen is not blank"
    await screen.type('echo "typed $((6*7))" > /dev/ttyS0\n')
    assert b"typed 42" in await _reads(serial, b"typed 42")
    assert await screen.update() != before


async def test_the_serial_console_answers(vm: VM, alice: Browser) -> None:
    serial = await alice.opens(vm, "serial")
    await serial.hear("open", 20)
    await serial.send(b"echo $((123*1000))\r")
    assert b"123000" in await _reads(serial, b"123000")


async def test_a_serial_console_in_use_outside_of_vireo_is_taken_over_only_when_asked(vm: VM, alice: Browser) -> None:
    ended: list[str] = []
    virsh = await sync_to_async(SerialSession, thread_sensitive=False)(link_of(vm.host), str(vm.pk), lambda data: None, ended.append)
    refused = await (await alice.opens(vm, "serial")).hear("refused", 20)
    assert refused["code"] == "busy" and "outside of Vireo" in refused["reason"]
    serial = await alice.opens(vm, "serial", take_over="1")
    await serial.hear("open", 20)
    await sync_to_async(until, thread_sensitive=False)(lambda: ended, 10, "the other to be thrown out")
    virsh.close()
    await serial.leave()


async def test_bob_takes_the_serial_console_over_from_alice(vm: VM, alice: Browser) -> None:
    bob = await sync_to_async(lambda: Browser(make_user("bob", role="UserRole")))()
    first = await alice.opens(vm, "serial")
    await first.hear("open", 20)
    assert (await (await bob.opens(vm, "serial")).hear("refused", 20))["holder"] == "alice"
    second = await bob.opens(vm, "serial", take_over="1")
    await second.hear("open", 20)
    assert await first.closed() in (4409, 4410)
    await second.send(b"echo $((124*1000))\r")
    assert b"124000" in await _reads(second, b"124000")


async def test_power_off_ends_both_consoles_and_says_so(vm: VM, alice: Browser, registered: Registered) -> None:
    screen, serial = await alice.opens(vm), await alice.opens(vm, "serial")
    await screen.hear("open", 20)
    await serial.hear("open", 20)
    await sync_to_async(domains.destroy, thread_sensitive=False)(link_of(vm.host), str(vm.pk))
    assert (await screen.hear("closed", 10))["code"] == "ended"
    assert (await serial.hear("closed", 10))["code"] == "ended"


async def test_a_serial_console_ends_though_nobody_tells_of_its_end(vm: VM, alice: Browser, monkeypatch) -> None:
    """As when libvirtd takes the domain down before it has seen the console hang up."""
    monkeypatch.setattr(SerialSession, "_on_event", lambda *told: None)
    serial = await alice.opens(vm, "serial")
    await serial.hear("open", 20)
    await sync_to_async(domains.destroy, thread_sensitive=False)(link_of(vm.host), str(vm.pk))
    assert "the guest stopped" in (await serial.hear("closed", 10))["reason"]


async def test_a_password_that_virsh_changed_is_set_anew(vm: VM, alice: Browser) -> None:
    await sync_to_async(domains.set_graphics_password, thread_sensitive=False)(link_of(vm.host), str(vm.pk), "foreign1")
    where = await sync_to_async(reach.find_display, thread_sensitive=False)(vm)
    with pytest.raises(rfb.PasswordRefused):
        await rfb.open_screen(where.address, where.port, decrypt(vm.display_secret))
    await Screen(await alice.opens(vm)).open()


async def test_our_limit_of_viewers_is_qemus(vm: VM) -> None:
    where = await sync_to_async(reach.find_display, thread_sensitive=False)(vm)
    inside = [await rfb.open_screen(where.address, where.port, where.password) for _ in range(registry.VIEWERS_MAX["vnc"])]
    with pytest.raises(rfb.NoRoom):
        await rfb.open_screen(where.address, where.port, where.password)
    for screen in inside:
        screen.socket.close()


def _colours(png: bytes) -> int:
    at = png.index(b"IDAT")
    return len(set(zlib.decompress(png[at + 4 : at + 4 + struct.unpack("!I", png[at - 4 : at])[0]])))


def test_a_thumbnail_shows_the_screen(vm: VM, alice: Browser) -> None:
    path = f"/vms/{vm.pk}/thumbnail.png"
    assert alice.client.get(path).status_code == 204
    thumbnails.refresh(str(vm.pk))
    answer = alice.client.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
    width, height = struct.unpack("!II", answer.content[16:24])
    assert 200 <= width <= 400 and 100 <= height <= 400
    assert _colours(answer.content) > 2


def test_a_display_needs_its_password(vm: VM) -> None:
    assert domains.display(link_of(vm.host), str(vm.pk)).password_required
    connection = libvirt.openReadOnly(link_of(vm.host).address.connect_uri)
    assert decrypt(vm.display_secret) not in connection.lookupByUUIDString(str(vm.pk)).XMLDesc()
    connection.close()
