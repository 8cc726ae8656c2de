"""What a phone's keyboard did to the field becomes keys, by running the page's own module; and the bar has the keys it lacks."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.sockets import Browser
from vms.models import VM

MODULE = Path(__file__).resolve().parents[3] / "frontend/src/console/touch-bar.js"


@pytest.mark.parametrize(
    ("before", "now", "erased", "typed"),
    [
        ("___", "___a", 0, "a"),
        ("___a", "___", 1, ""),
        ("___teh", "___the ", 2, "he "),  # a correction replaces the word's end
        ("___", "___\n", 0, "\n"),
        ("___", "__", 1, ""),  # backspace in the empty field
        ("", "", 0, ""),
        ("___", "", 3, ""),
    ],
)
def test_the_difference_is_what_was_erased_and_typed(before, now, erased, typed):
    script = f"import({json.dumps(MODULE.as_uri())}).then((m) => console.log(JSON.stringify(m.difference({json.dumps(before)}, {json.dumps(now)}))))"
    found = json.loads(subprocess.run(["node", "-e", script], check=True, capture_output=True, text=True).stdout)
    assert found == {"erased": erased, "typed": typed}


@pytest.mark.parametrize("kind", ["vnc", "serial"])
def test_both_consoles_have_the_keys_that_a_phone_lacks(running_vm: VM, alice: Browser, kind: str) -> None:
    page = alice.client.get(f"/vms/{running_vm.pk}/console/?kind={kind}").content.decode()
    bar = page[page.index('data-part="key-bar"') : page.index("<dialog")]
    keys = ["Escape", "Tab", "Enter", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", *(f"F{number}" for number in range(1, 13))]
    assert all(f'data-keys="{key}"' in bar for key in keys)
    assert 'data-hold="ControlLeft"' in bar and 'data-hold="AltLeft"' in bar and 'aria-label="On-screen keyboard"' in bar
