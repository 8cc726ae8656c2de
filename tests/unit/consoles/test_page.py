"""The console's page: what it says and offers before any script runs."""

import re

import pytest

from tests.build import make_user
from tests.sockets import Browser
from vms.models import VM


@pytest.mark.parametrize(("kind", "element"), [("vnc", "vnc-console"), ("serial", "serial-console"), ("other", "vnc-console")])
def test_each_kind_has_its_element_and_nothing_inline(running_vm: VM, alice: Browser, kind: str, element: str) -> None:
    answer = alice.client.get(f"/vms/{running_vm.pk}/console/?kind={kind}")
    page = answer.content.decode()
    assert answer.status_code == 200 and f"<{element} " in page
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script(?![^>]* src=)", page)
    assert "unsafe" not in answer["Content-Security-Policy"]


def test_a_vm_that_is_down_says_so_and_offers_to_run_it(running_vm: VM, alice: Browser) -> None:
    VM.objects.update(status="down")
    page = alice.client.get(f"/vms/{running_vm.pk}/console/").content.decode()
    assert "is not running: there is nothing to see." in page
    run = re.search(r'<form method="post" action="([^"]+)"[^>]*data-in-place[^>]*>', page)
    assert run and run[1] == f"/vms/{running_vm.pk}/action/start/" and "hidden" not in run[0]


def test_the_state_tells_why_a_power_action_cannot_be_done(running_vm: VM, alice: Browser) -> None:
    state = alice.client.get(f"/vms/{running_vm.pk}/console/state/").json()
    power = {entry["name"]: entry for entry in state["power"]}
    assert state["ok"] and power["poweroff"]["ok"]
    assert not power["start"]["ok"] and "running already" in power["start"]["reason"]


def test_it_is_for_those_who_may_use_the_console(running_vm: VM) -> None:
    path = f"/vms/{running_vm.pk}/console/"
    assert Browser(make_user("carol")).client.get(path).status_code == 404
    assert Browser(make_user("dave", role="ReadOnlyAdmin")).client.get(path).status_code == 403
