"""A VM that runs, its display, and the sockets of signed-in browsers."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests import sockets
from tests.build import make_host, make_user, make_vm
from tests.rfb_server import RfbServer
from tests.sockets import Browser
from vms.consoles import reach
from vms.consoles.reach import DisplayAddress
from vms.models import VM

SECRET = "s3cret12"


@pytest.fixture(autouse=True)
async def sockets_end(transactional_db: None) -> AsyncIterator[None]:
    """What an application writes after a test must not meet the next one's tables."""
    sockets.opened.clear()
    yield
    for socket in sockets.opened:
        await socket.end()


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
