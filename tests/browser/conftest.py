"""One stack for the session, as `make run` starts it, and browsers that signed in to it."""

import os
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.stack import ADMIN_PASSWORD, Stack, free_subnet

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """With its lab; on the database of VIREO_TEST_STACK_DATABASE, or SQLite."""
    lab = os.environ.get("VIREO_TEST_LAB_NAME", "vireotest") + "web"
    made = Stack(lab=(lab, free_subnet()), database_url=os.environ.get("VIREO_TEST_STACK_DATABASE", ""))
    try:
        made.start()
        made.hosts_up(2)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def blank_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a browser of its own; fails the test for any script error or violation of the content policy."""
    contexts, problems = [], []

    def open_one(phone: bool = False, dark: bool = False) -> Page:
        context = browser.new_context(viewport=PHONE if phone else DESKTOP, color_scheme="dark" if dark else "light", has_touch=phone)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if "Content Security Policy" in message.text else None)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not problems, problems


@pytest.fixture
def open_page(blank_page: Callable[..., Page], stack: Stack) -> Callable[..., Page]:
    """Opens a browser of its own, signed in."""

    def sign_in(username: str = "admin", password: str = ADMIN_PASSWORD, phone: bool = False, dark: bool = False) -> Page:
        page = blank_page(phone=phone, dark=dark)
        page.goto(f"{stack.url}/sign-in/")
        page.get_by_label("User name").fill(username)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name=re.compile("^(Dashboard|My machines)$")).wait_for()
        return page

    return sign_in
