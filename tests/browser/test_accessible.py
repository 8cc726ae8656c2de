"""axe-core finds nothing serious on any page, light and dark, on a desk and on a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.stack import Stack

PAGES = [
    "/", "/vms/", "/vms/new/", "/templates/", "/hosts/", "/hosts/new/", "/clusters/", "/clusters/new/", "/data-centers/", "/storage/", "/storage/new/",
    "/disks/", "/disks/new/", "/networks/", "/networks/new/", "/jobs/", "/events/", "/users/", "/users/new/", "/groups/", "/groups/new/",
    "/roles/", "/me/", "/api/",
]  # fmt: skip


def serious(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{entry['id']}: {entry['nodes'][0]['html'][:160]}" for entry in found if entry["impact"] in ("serious", "critical")]


@pytest.mark.parametrize(("phone", "dark"), [(False, False), (False, True), (True, False)], ids=["light", "dark", "phone"])
def test_no_page_has_a_serious_fault(stack: Stack, open_page, phone, dark):
    vm = stack.api("GET", "/vms?limit=1").body["items"]
    vm = vm[0] if vm else stack.make_vm("axe", start=False)
    host = stack.api("GET", "/hosts").body["items"][0]
    job = stack.api("GET", "/jobs").body["items"][0]
    details = [f"/vms/{vm['id']}/", f"/vms/{vm['id']}/?tab=permissions", f"/vms/{vm['id']}/edit/", f"/vms/{vm['id']}/remove/", f"/vms/{vm['id']}/console/"]
    template = stack.api("GET", "/templates").body["items"][0]
    details += [f"/vms/{vm['id']}/?tab=guest", f"/vms/{vm['id']}/first-boot/", f"/templates/{template['id']}/", f"/templates/{template['id']}/edit/"]
    details += [f"/hosts/{host['id']}/", f"/hosts/{host['id']}/?tab=capabilities", f"/jobs/{job['id']}/"]
    page = open_page(phone=phone, dark=dark)
    faults = {}
    for path in PAGES + details:
        page.goto(stack.url + path)
        if found := serious(page):
            faults[path] = found
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), f"{path} is wider than the screen"
    assert not faults, faults
