"""The faults: each does its harm and undoes it; what follows is Vireo's to mend."""

import random
import time
from collections.abc import Callable

from tests.chaos.site import Site

Fault = Callable[[Site, random.Random], str]


def _host(site: Site, pick: random.Random) -> str:
    return pick.choice(site.lab.nodes()).name


def host_dies(site: Site, pick: random.Random) -> str:
    """All of its processes. Its power button brings it back, once it is fenced."""
    name = _host(site, pick)
    site.lab.kill_host(name)
    return f"{name} dies"


def network_is_cut(site: Site, pick: random.Random) -> str:
    """Its guests run on behind it, until it is fenced or the network is back, whichever is first."""
    name, seconds = _host(site, pick), pick.uniform(2, 30)
    site.lab.cut_host(name)
    time.sleep(seconds)  # how long the fault lasts: part of the fault
    site.lab.heal_host(name)
    return f"{name} is cut off for {seconds:.0f} s"


def two_networks_are_cut(site: Site, pick: random.Random) -> str:
    """Most of the cluster at once: nobody may be fenced for that."""
    names = [node.name for node in pick.sample(site.lab.nodes(), 2)]
    for name in names:
        site.lab.cut_host(name)
    time.sleep(20)  # longer than fencing waits
    for name in names:
        site.lab.heal_host(name)
    return f"{' and '.join(names)} are cut off"


def libvirtd_ends(site: Site, pick: random.Random) -> str:
    """Its guests run on, and answer: it is not fenced."""
    name, seconds = _host(site, pick), pick.uniform(2, 20)
    site.lab.stop_libvirtd(name)
    time.sleep(seconds)
    site.lab.start_libvirtd(name)
    return f"libvirtd of {name} is away for {seconds:.0f} s"


def libvirtd_hangs(site: Site, pick: random.Random) -> str:
    name, seconds = _host(site, pick), pick.uniform(2, 20)
    site.lab.freeze_libvirtd(name)
    time.sleep(seconds)
    site.lab.thaw_libvirtd(name)
    return f"libvirtd of {name} hangs for {seconds:.0f} s"


def vireo_dies(site: Site, pick: random.Random) -> str:
    site.kill_vireo()
    return "all of Vireo's processes die, and it is started again"


def vireo_dies_while_vms_move(site: Site, pick: random.Random) -> str:
    moved = _move_some(site, pick)
    site.kill_vireo()
    return f"all of Vireo's processes die while {', '.join(moved) or 'nothing'} moves"


def host_dies_while_vms_move(site: Site, pick: random.Random) -> str:
    moved = _move_some(site, pick)
    name = _host(site, pick)
    site.lab.kill_host(name)
    return f"{name} dies while {', '.join(moved) or 'nothing'} moves"


def _move_some(site: Site, pick: random.Random) -> list[str]:
    moved = []
    for vm in pick.sample(site.stack.api("GET", "/vms?status=up").body["items"], 2):
        if site.stack.api("POST", f"/vms/{vm['id']}/migrate", {}).status == 202:
            moved.append(vm["name"])
    time.sleep(pick.uniform(0, 2))  # somewhere in the middle
    return moved


def host_rests(site: Site, pick: random.Random) -> str:
    """No fault, but what an administrator does in between."""
    host = pick.choice(site.stack.api("GET", "/hosts?status=up").body["items"])
    answer = site.stack.api("POST", f"/hosts/{host['id']}/maintenance", {})
    if answer.status != 202:
        return f"{host['name']} cannot rest: {answer.body}"
    job = site.stack.job_ends(answer.body["id"], 180)
    if job["status"] == "succeeded":
        answer = site.stack.api("POST", f"/hosts/{host['id']}/activate", {})
        site.stack.job_ends(answer.body["id"], 120)
    return f"{host['name']} rests for a while ({job['status']})"


FAULTS: list[Fault] = [
    host_dies,
    network_is_cut,
    two_networks_are_cut,
    libvirtd_ends,
    libvirtd_hangs,
    vireo_dies,
    vireo_dies_while_vms_move,
    host_dies_while_vms_move,
    host_rests,
]
