"""The main job: from sign-in to a running VM whose console one types into, seen in two browsers at once."""

import base64
import json
import re
import subprocess
from pathlib import Path

import libvirt
import libvirt_qemu
import pytest
from playwright.sync_api import Page, expect

from tests.stack import ROOT, Stack
from tests.waiting import until

SCREENSHOTS = ROOT / "docs" / "screenshots"


def status(page: Page, word: str, seconds: float = 45) -> None:
    """Waits until the page's head shows the state, without a reload."""
    expect(page.locator("#vm-head [data-status]").first).to_have_attribute("data-status", word, timeout=seconds * 1000)


def menu(page: Page, action: str) -> None:
    """Chooses an action of the VM's menu, and says yes where it asks."""
    expect(page.locator("#vm-head details[open]")).to_have_count(0)
    page.locator("#vm-head summary").click()
    page.locator("#vm-head .v-menu-panel").get_by_role("button", name=action, exact=True).click()
    dialog = page.locator("#confirm[open]")
    if action in ("Power off", "Reset"):
        dialog.get_by_role("button", name=action).click()
    done(page, action)


def done(page: Page, action: str) -> None:
    """The toast that says that the job ended: until then the VM is busy, and another action is refused."""
    expect(page.get_by_text(f"{action} first: done.")).to_be_visible(timeout=30_000)


def pixels(page: Page) -> bytes:
    return page.locator("vnc-console canvas:not([data-part])").screenshot()


def test_from_sign_in_to_a_console_and_back_in_two_browsers(stack: Stack, open_page):
    page, other = open_page(), open_page()
    expect(page.get_by_text("2 hosts up")).to_be_visible()

    page.get_by_role("link", name="New VM").first.click()
    page.get_by_label("Name", exact=True).fill("first")
    page.get_by_role("button", name="Create VM").click()
    page.wait_for_url(re.compile(r"/vms/[0-9a-f-]{36}/$"))
    url = page.url
    other.goto(url)
    for each in (page, other):
        status(each, "up")

    # Numbers move by themselves.
    chart = page.locator("live-chart").first
    points = int(chart.get_attribute("data-points") or 0)
    expect(chart).not_to_have_attribute("data-points", str(points), timeout=15_000)

    # The console shows the guest, and what is typed reaches it.
    console = open_page()
    console.goto(f"{url}console/")
    console.locator("vnc-console canvas:not([data-part])").wait_for()
    console.wait_for_timeout(1500)  # the first frames arrive
    before = pixels(console)
    console.locator("vnc-console canvas:not([data-part])").click()
    console.keyboard.type("echo typed-from-a-browser\n", delay=30)
    expect_change(console, before)
    console.screenshot(path=_shot("console.png"))

    menu(page, "Pause")
    for each in (page, other):
        status(each, "paused")
    page.locator("#vm-head").get_by_role("button", name="Resume").click()
    done(page, "Resume")
    for each in (page, other):
        status(each, "up")
    page.screenshot(path=_shot("vm.png"))
    page.goto(stack.url)
    page.get_by_text("1 VM running").wait_for()
    page.screenshot(path=_shot("dashboard.png"))
    page.goto(url)

    menu(page, "Reset")
    menu(page, "Power off")
    for each in (page, other):
        status(each, "down")

    page.goto(f"{url}remove/")
    page.get_by_label("Name of the VM").fill("first")
    page.get_by_role("button", name="Remove VM").click()
    expect(page.get_by_role("link", name="first", exact=True)).to_have_count(0, timeout=20_000)
    other.goto(url)
    expect(other.get_by_role("heading", name="Not found")).to_be_visible()


def expect_change(page: Page, before: bytes) -> None:
    for _ in range(40):
        if pixels(page) != before:
            return
        page.wait_for_timeout(250)
    raise AssertionError("the console's picture did not change")


def _shot(name: str) -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS / name


def uri_of(stack: Stack, vm) -> str:
    """How virsh reaches the VM's host."""
    host = stack.api("GET", f"/hosts?name={vm['host']['name']}").body["items"][0]
    return f"qemu+tls://{host['address']}/system?pkipath={stack.manage('lab', 'client-dir')}"


def test_a_change_made_with_virsh_shows_without_a_reload(stack: Stack, open_page):
    vm = stack.make_vm("by-virsh", start=False)
    page = open_page()
    page.goto(f"{stack.url}/vms/{vm['id']}/")
    status(page, "down")
    uri = uri_of(stack, vm)
    subprocess.run(["virsh", "-q", "-c", uri, "start", vm["id"]], check=True, capture_output=True)
    status(page, "up")
    subprocess.run(["virsh", "-q", "-c", uri, "destroy", vm["id"]], check=True, capture_output=True)
    status(page, "down")


def in_guest(stack: Stack, vm, *command: str) -> str:
    """What a command in the guest prints, by its agent."""
    connection = libvirt.open(uri_of(stack, vm))
    domain = connection.lookupByUUIDString(vm["id"])
    ask = {"execute": "guest-exec", "arguments": {"path": command[0], "arg": list(command[1:]), "capture-output": True}}
    pid = json.loads(libvirt_qemu.qemuAgentCommand(domain, json.dumps(ask), 10, 0))["return"]["pid"]
    ask = {"execute": "guest-exec-status", "arguments": {"pid": pid}}

    def ended():
        found = json.loads(libvirt_qemu.qemuAgentCommand(domain, json.dumps(ask), 10, 0))["return"]
        return found if found["exited"] else None

    printed = until(ended, 10, f"{command[0]} to end in the guest").get("out-data", "")
    connection.close()
    return base64.b64decode(printed).decode()


def test_the_clipboard_is_shared_both_ways(stack: Stack, open_page):
    vm = stack.make_vm("clipboard")
    page = open_page()
    page.goto(f"{stack.url}/vms/{vm['id']}/")
    status(page, "up")
    page.goto(f"{stack.url}/vms/{vm['id']}/console/")
    page.locator("vnc-console canvas:not([data-part])").wait_for()
    page.locator("summary[aria-label=Clipboard]").click()
    text = page.locator("[data-part=clipboard-text]")

    text.fill("von hier: Grüße")
    page.get_by_role("button", name="Send to the guest").click()
    until(lambda: in_guest(stack, vm, "/bin/cat", "/run/clipboard") == "von hier: Grüße", 15, "the text to reach the guest")
    in_guest(stack, vm, "/bin/clip", "back: ça va")
    expect(text).to_have_value("back: ça va", timeout=15_000)


def test_a_plain_user_sees_only_what_was_granted(stack: Stack, open_page):
    stack.make_vm("not-for-eve", start=False)
    admin = open_page()
    admin.goto(f"{stack.url}/users/new/")
    admin.get_by_label("User name").fill("eve")
    admin.get_by_label("Password").fill("correct horse battery")
    admin.get_by_role("button", name="Create user").click()
    eve = open_page("eve", "correct horse battery")
    eve.goto(f"{stack.url}/vms/")
    expect(eve.get_by_text("not-for-eve")).to_have_count(0)
    expect(eve.get_by_role("link", name="Hosts", exact=True)).to_have_count(0)


def test_a_form_with_a_bad_value_keeps_what_was_typed_and_says_what_is_wrong(stack: Stack, open_page):
    page = open_page()
    page.goto(f"{stack.url}/vms/new/")
    page.get_by_label("Name", exact=True).fill("kept")
    page.get_by_label("Memory").fill("0")
    page.get_by_role("button", name="Create VM").click()
    expect(page.get_by_text("Memory is at least 16 MiB")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("kept")


@pytest.mark.parametrize("key", ["Control+k", "?"])
def test_palette_and_help_open_by_key(stack: Stack, open_page, key):
    page = open_page()
    page.keyboard.press(key)
    expect(page.locator("dialog[open]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
