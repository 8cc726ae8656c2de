"""What builds the Debian image ends whole: when it is cancelled, and with the reason when a tool fails."""

import uuid
from pathlib import Path

import pytest

from lab.debian_image import ALONE, stoppable
from lab.guest import GuestNotBuilt
from tests.waiting import until


def running(word):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append(word in (entry / "cmdline").read_text())
            except OSError:
                continue
    return any(found)


def test_cancelled_it_ends_with_all_that_it_started_and_leaves_no_mount(tmp_path):
    word = f"1000.{uuid.uuid4().int % 10**9}"  # seconds that no other process sleeps
    script = f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/mounted; sleep {word} & sleep {word}"
    with pytest.raises(KeyError), stoppable([*ALONE, "sh", "-c", script]) as is_running:
        until(lambda: running(word), 10, "it to run")
        assert is_running()
        assert not list(tmp_path.iterdir()), "its mounts are its own"
        raise KeyError
    until(lambda: not running(word), 5, "it to end")
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_a_tool_that_fails_says_why():
    with pytest.raises(GuestNotBuilt, match="no such mirror"), stoppable(["sh", "-c", "echo no such mirror >&2; exit 3"]) as is_running:
        while is_running():
            pass


def test_one_that_succeeds_says_nothing():
    with stoppable([*ALONE, "true"]) as is_running:
        while is_running():
            pass
