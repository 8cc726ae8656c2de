"""An image from a browser: paused, gone on with in another tab, and on a phone; then it is there."""

import os
import re

from playwright.sync_api import expect

MIB = 1 << 20


def slow(page, bytes_per_second):
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second})


def test_upload_that_was_paused_goes_on_in_another_tab_of_a_phone(stack, open_page, tmp_path):
    file = tmp_path / "system.raw"
    with file.open("wb") as made:
        for _ in range(24):
            made.write(os.urandom(MIB))
    page = open_page(phone=True)
    page.goto(f"{stack.url}/images/upload/")
    slow(page, 4 * MIB)
    page.set_input_files("[name=file]", file)
    page.get_by_label("Storage domain").select_option(label="shared")
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("[data-upload-rate]")).to_contain_text(re.compile(r"[1-9][\d.]* MiB of 24 MiB · .*/s · .* left"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("[data-upload-words]")).to_have_text("Paused")
    other = page.context.new_page()
    other.goto(f"{stack.url}/images/upload/")
    expect(other.locator("#unfinished")).to_contain_text("system.raw")
    page.close(run_before_unload=False)
    other.set_input_files("[name=file]", file)
    other.get_by_role("button", name="Go on with the upload").click()
    other.wait_for_url("**/disks/*/")
    expect(other.locator("#disk-head")).to_contain_text("ok")
    expect(other.locator("h1")).to_contain_text("system.raw")


def test_image_that_is_refused_says_why_in_place(stack, open_page, tmp_path):
    file = tmp_path / "notes.iso"
    file.write_text("no image at all")
    page = open_page()
    page.goto(f"{stack.url}/images/upload/")
    page.set_input_files("[name=file]", file)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("[data-upload-error]")).to_contain_text("no image that is known here")
