"""From the sign-in form to the picture of a new machine's screen, in a real browser, by somebody who administers nothing."""

from playwright.sync_api import sync_playwright

from bench.figures import Figure
from tests.browser import journeys
from tests.browser.conftest import ARGUMENTS, DESKTOP
from tests.stack import Stack, free_subnet


def measure() -> list[Figure]:
    stack = Stack(lab=("vireobench", free_subnet()))
    try:
        stack.start()
        stack.hosts_up(2)
        journeys.make_plain_user(stack, "stella")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
            watch = journeys.to_a_console_of_ones_own(browser.new_page(viewport=DESKTOP), stack, "stella")
            browser.close()
    finally:
        stack.stop()
    return [
        Figure("self_service_s", watch.seconds, "s", "at most 30; from the sign-in form to the guest's screen in the console"),
        Figure("self_service_clicks", watch.clicks, "clicks", "at most 6; the same way, sign-in included"),
    ]
