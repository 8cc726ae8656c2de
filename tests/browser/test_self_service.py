"""From the sign-in form to the console of a machine of one's own: how many clicks it takes somebody who administers nothing."""

from playwright.sync_api import expect

from tests.browser import journeys
from tests.stack import Stack

MOST_CLICKS = 6


def test_a_plain_user_is_in_the_console_of_a_new_machine_in_few_clicks(stack: Stack, blank_page):
    journeys.make_plain_user(stack, "stella")
    page, loaded = blank_page(), []
    page.on("load", lambda shown: loaded.append(shown.url))
    watch = journeys.to_a_console_of_ones_own(page, stack, "stella")
    print(f"sign-in to console: {watch.clicks} clicks, {watch.seconds:.1f} s")
    assert watch.clicks <= MOST_CLICKS
    assert len(loaded) == 5, loaded  # sign-in, home, form, machine, console: none was read again
    expect(page.locator("vnc-console")).to_have_attribute("data-word", "open")
    expect(page.locator("[data-part=key-bar]")).to_be_hidden()


def test_the_same_on_a_phone_where_the_console_brings_its_keys(stack: Stack, blank_page):
    journeys.make_plain_user(stack, "philippa")
    page = blank_page(phone=True)
    watch = journeys.to_a_console_of_ones_own(page, stack, "philippa")
    print(f"sign-in to console on a phone: {watch.clicks} taps, {watch.seconds:.1f} s")
    assert watch.clicks <= MOST_CLICKS
    bar = page.locator("[data-part=key-bar]")
    expect(bar.get_by_role("button", name="On-screen keyboard")).to_be_in_viewport()
    expect(bar.get_by_role("button", name="Esc")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    bar.get_by_role("button", name="On-screen keyboard").tap()
    expect(page.get_by_label("Typing with the on-screen keyboard")).to_be_focused()
