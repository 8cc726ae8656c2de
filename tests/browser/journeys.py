"""Journeys that both a test and a benchmark make: what a person does in a browser, its clicks counted and its time taken."""

import time
from dataclasses import dataclass

from playwright.sync_api import Locator, Page

from tests.stack import Stack

LONGEST_WAIT = 60.0
PASSWORD = "correct horse battery"
# How much of the screen is lit; QEMU's own card "Guest has not initialized the display" is 640 by 480 and not yet the guest.
_GUEST_SHOWS = """canvas => {
    if (canvas.width < 100 || (canvas.width === 640 && canvas.height === 480)) return false;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let lit = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at] + data[at + 1] + data[at + 2] > 120) lit += 1;
    return lit > 200;
}"""
_PLAIN_USER = """
from accounts.models import User
from accounts.permissions import grant
from hosts.models import Cluster
from vms.models import Template
user = User.objects.create_user("{username}", "{password}")
grant("VmCreator", Cluster.objects.get(name="Default"), user=user)
grant("TemplateUser", Template.objects.get(name="Tiny Linux"), user=user)
"""


@dataclass
class Stopwatch:
    """A page whose clicks are counted, from the moment that its first form is shown."""

    page: Page
    clicks: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._touch = bool(self.page.evaluate("navigator.maxTouchPoints > 0"))
        self._begin = time.perf_counter()

    def click(self, target: Locator) -> None:
        """Where there is a touch screen, by a finger."""
        self.clicks += 1
        (target.tap if self._touch else target.click)(timeout=LONGEST_WAIT * 1000)

    def stop(self) -> None:
        self.seconds = time.perf_counter() - self._begin


def make_plain_user(stack: Stack, username: str) -> None:
    """Somebody who may make machines of the lab's template and nothing else; the password is `PASSWORD`."""
    stack.manage("shell", "-v0", "-c", _PLAIN_USER.format(username=username, password=PASSWORD))


def to_a_console_of_ones_own(page: Page, stack: Stack, username: str) -> Stopwatch:
    """Sign-in, New machine, Create and run, Console; ends as soon as the guest's screen is seen."""
    page.goto(f"{stack.url}/sign-in/")
    button = page.get_by_role("button", name="Sign in", exact=True)
    button.wait_for()
    watch = Stopwatch(page)
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    watch.click(button)
    page.get_by_role("heading", name="My machines").wait_for()
    watch.click(page.locator("[data-create]"))
    watch.click(page.get_by_role("button", name="Create and run"))
    # No reload: the link takes the disabled button's place as soon as the machine runs.
    watch.click(page.locator("#vm-screen a.v-button-primary.v-machine-console"))
    wait_for_guest(page)
    watch.stop()
    return watch


def screen_of(page: Page) -> Locator:
    """The canvas that a console's page draws the guest's screen on."""
    return page.locator("vnc-console canvas:not([data-part])")


def wait_for_guest(page: Page) -> None:
    """Until the guest itself, or its firmware, has drawn something."""
    screen = screen_of(page)
    screen.wait_for(timeout=LONGEST_WAIT * 1000)
    deadline = time.monotonic() + LONGEST_WAIT
    while not screen.evaluate(_GUEST_SHOWS):
        assert time.monotonic() < deadline, "the console stayed blank"
        page.wait_for_timeout(50)
