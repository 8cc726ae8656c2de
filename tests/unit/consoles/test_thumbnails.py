"""Thumbnails: made small, kept for a while, taken only of what somebody looks at."""

import struct

import pytest

from hypervisor import domains
from tests.sockets import Browser
from vms.consoles import reach, thumbnails
from vms.consoles.picture import BadPicture, thumbnail
from vms.models import VM

PPM = b"P6\n720 400\n255\n" + bytes((200, 30, 30)) * (720 * 400)


def test_a_screenshot_becomes_a_small_png() -> None:
    png = thumbnail(PPM)
    assert png.startswith(b"\x89PNG")
    assert struct.unpack("!II", png[16:24]) == (400, 222)
    assert len(png) < 5000


@pytest.mark.parametrize("data", [b"", b"P6\n", b"GIF89a" + bytes(100), b"P6\n99999 99999\n255\n", PPM[:1000]])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadPicture):
        thumbnail(data)


@pytest.fixture
def screenshots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the VMs that were photographed; workers are this process."""
    taken: list[str] = []
    monkeypatch.setattr(reach, "link", lambda vm: None)
    monkeypatch.setattr(domains, "screenshot", lambda link, vm_id: (taken.append(vm_id), ("image/x-portable-pixmap", PPM))[1])
    monkeypatch.setattr(thumbnails.refresh, "apply_async", lambda args, **options: thumbnails.refresh(*args))
    return taken


def test_a_look_has_the_screen_photographed_once(running_vm: VM, alice: Browser, screenshots: list[str]) -> None:
    for _ in range(3):
        answer = alice.client.get(f"/vms/{running_vm.pk}/thumbnail.png")
        assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
    assert screenshots == [str(running_vm.pk)]


def test_a_vm_that_is_down_has_no_thumbnail(running_vm: VM, alice: Browser, screenshots: list[str]) -> None:
    alice.client.get(f"/vms/{running_vm.pk}/thumbnail.png")
    VM.objects.update(status="down")
    assert alice.client.get(f"/vms/{running_vm.pk}/thumbnail.png").status_code == 204
    thumbnails.refresh(str(running_vm.pk))
    assert thumbnails.latest(running_vm.pk) is None
    assert len(screenshots) == 1


def test_a_screen_is_seen_only_by_who_may_use_the_console(running_vm: VM, screenshots: list[str]) -> None:
    from tests.build import make_user

    watcher = Browser(make_user("dave", role="ReadOnlyAdmin"))
    assert watcher.client.get(f"/vms/{running_vm.pk}/thumbnail.png").status_code == 403
    assert screenshots == []
