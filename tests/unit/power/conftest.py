"""Fence agents of the tests' own: real programs that speak the agents' protocol, for a machine that is a file."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from hosts.models import Host, HostStatus
from hosts.power import catalogue
from hosts.power.models import PowerAgent
from tests.build import make_host

PROGRAM = """#!/usr/bin/python3 -S
import json, os, sys, time
ROOT = {root!r}
METADATA = '''<resource-agent name="fence_redfish" shortdesc="A machine that is a file"><parameters>
<parameter name="ip" required="0"><content type="string"/><shortdesc>Address of the device</shortdesc></parameter>
<parameter name="username" required="0"><content type="string"/><shortdesc>Login name</shortdesc></parameter>
<parameter name="password" required="0"><content type="string"/><shortdesc>Login password</shortdesc></parameter>
<parameter name="password_script" required="0"><content type="string"/><shortdesc>Script to run</shortdesc></parameter>
<parameter name="plug" required="0"><content type="string"/><shortdesc>Which machine</shortdesc></parameter>
<parameter name="ssl" required="0"><content type="boolean" default="1"/><shortdesc>TLS</shortdesc></parameter>
<parameter name="power_timeout" required="0"><content type="second" default="20"/><shortdesc>Wait</shortdesc></parameter>
</parameters><actions><action name="on"/><action name="off"/><action name="status"/></actions></resource-agent>'''
if sys.argv[1:] == ["-o", "metadata"]:
    print(METADATA)
    sys.exit()
given = dict(line.rstrip("\\n").split("=", 1) for line in sys.stdin)
plug = given.get("plug", "machine")
with open(ROOT + "/calls", "a") as log:
    log.write(json.dumps({{"given": given, "argv": sys.argv[1:], "env": sorted(os.environ)}}) + "\\n")
def read(name, usual):
    try:
        return open(f"{{ROOT}}/{{plug}}.{{name}}").read()
    except OSError:
        return usual
mood, state = read("mood", ""), read("state", "on")
if mood == "broken":
    print("cannot log in with password", given.get("password"))
    sys.exit(1)
if mood == "hangs":
    time.sleep(60)
if given["action"] in ("on", "off"):
    if mood != "lies":
        open(f"{{ROOT}}/{{plug}}.state", "w").write(given["action"])
    print("Success: Powered", given["action"].upper())
    sys.exit(0)
print("Status:", state.upper())
sys.exit(2 if state == "off" else 0)
"""


@dataclass
class Machines:
    """The machines that the agents switch, by plug."""

    root: Path

    def state(self, plug: str = "machine") -> str:
        path = self.root / f"{plug}.state"
        return path.read_text() if path.exists() else "on"

    def set(self, state: str, plug: str = "machine") -> None:
        (self.root / f"{plug}.state").write_text(state)

    def mood(self, mood: str, plug: str = "machine") -> None:
        """broken: it fails. lies: it says that it did what it did not. hangs. Or "" again."""
        (self.root / f"{plug}.mood").write_text(mood)

    def calls(self) -> list[dict]:
        path = self.root / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def actions(self) -> list[tuple[str, str]]:
        return [(call["given"].get("plug", "machine"), call["given"]["action"]) for call in self.calls()]


@pytest.fixture
def machines(tmp_path, settings):
    settings.FENCE_AGENTS_DIR = str(tmp_path / "sbin")
    root = tmp_path / "machines"
    root.mkdir()
    (tmp_path / "sbin").mkdir()
    for name in ("fence_redfish", "fence_apc", "fence_scsi"):
        path = tmp_path / "sbin" / name
        path.write_text(PROGRAM.format(root=str(root)))
        path.chmod(0o755)
    yield Machines(root)
    catalogue._read.cache_clear()


def make_agent(host: Host, plug: str = "machine", password: str = "hunter2 & co", with_previous: bool = False) -> PowerAgent:
    agent = PowerAgent(host=host, agent="fence_redfish", options={"ip": "192.0.2.9", "plug": plug}, with_previous=with_previous)
    agent.position = host.power_agents.count() + 1
    agent.secrets = {"password": password}
    agent.save()
    return agent


@pytest.fixture
def host(db, machines):
    """A host in maintenance with one agent."""
    host = make_host(status=HostStatus.MAINTENANCE)
    make_agent(host)
    return host
