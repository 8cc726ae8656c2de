"""A VM that runs, its display, and the sockets of signed-in browsers."""

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from portal.asgi import application
from tests.build import PASSWORD, make_host, make_user, make_vm
from tests.rfb_server import RfbServer
from tests.sockets import Socket
from vms.consoles import reach
from vms.consoles.reach import DisplayAddress
from vms.models import VM

SECRET = "s3cret12"


class Browser:
    """A signed-in user: pages, tickets and sockets."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.client = Client()
        assert self.client.login(username=user.username, password=PASSWORD)

    async def opens(self, vm: VM, kind: str = "vnc", **options: str) -> Socket:
        """The socket after its ticket was taken."""
        socket = self.socket(vm, kind)
        assert await socket.connect()
        await socket.say(ticket=await sync_to_async(self.ticket)(vm, kind, **options))
        return socket

    def ticket(self, vm: VM, kind: str = "vnc", **options: str) -> str:
        answer = self.client.post(f"/vms/{vm.pk}/console/ticket/", {"kind": kind, **options})
        assert answer.status_code == 200, answer.content
        return answer.json()["ticket"]

    def socket(self, vm: VM, kind: str = "vnc", origin: str = "http://localhost") -> Socket:
        cookie = f"vireo_session={self.client.cookies['vireo_session'].value}"
        headers = [(b"origin", origin.encode()), (b"cookie", cookie.encode()), (b"host", b"localhost")]
        return Socket(application, f"/ws/vms/{vm.pk}/{kind}", headers)


@pytest.fixture
def running_vm(transactional_db: None) -> VM:
    host = make_host(capabilities={"features": ["display"]}, driver="QEMU")
    return make_vm(host=host, status="up")


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[RfbServer]:
    """The VM's display, which the host would tell us."""
    server = RfbServer(SECRET)
    monkeypatch.setattr(reach, "find_display", lambda vm: DisplayAddress("127.0.0.1", server.port, SECRET))
    yield server
    server.close()


@pytest.fixture
def alice(transactional_db: None) -> Browser:
    return Browser(make_user("alice", role="UserRole"))


@pytest.fixture
def bob(transactional_db: None) -> Browser:
    return Browser(make_user("bob", role="UserRole"))
