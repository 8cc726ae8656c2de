"""cloud-init's NoCloud seed as texts. Pure: settings in, YAML out, written by a library so that no value can break out of its place."""

from collections.abc import Sequence
from typing import Any

import yaml

from vms.guest.settings import FirstBoot, Method, NicSetup, extra_of

HEADER = "#cloud-config\n"
SCRIPT_PATH = "/var/lib/cloud/scripts/per-instance/first-boot"


def _dump(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False)


def meta_data(instance_id: str, hostname: str) -> str:
    """A new instance id makes cloud-init set the guest up anew."""
    return _dump({"instance-id": instance_id, "local-hostname": hostname})


def user_data(settings: FirstBoot, hostname: str) -> str:
    """#cloud-config: ours, with the user's own merged in."""
    name = hostname.split(".")[0]
    ours: dict[str, Any] = {"hostname": name, "manage_etc_hosts": True}
    if name != hostname:
        ours |= {"fqdn": hostname, "prefer_fqdn_over_hostname": False}
    ours["ssh_pwauth"] = bool(settings.password_hash)
    ours |= _user(settings)
    if settings.script:
        text = settings.script if settings.script.startswith("#!") else f"#!/bin/sh\n{settings.script}"
        ours["write_files"] = [{"path": SCRIPT_PATH, "permissions": "0755", "content": f"{text}\n"}]
    return HEADER + _dump(merged(ours, extra_of(settings.user_data)))


def _user(settings: FirstBoot) -> dict[str, Any]:
    keys = list(settings.ssh_keys)
    if settings.user == "root":
        found: dict[str, Any] = {"disable_root": False, "users": [{"name": "root", "ssh_authorized_keys": keys}]}
        if settings.password_hash:
            found["users"][0] |= {"hashed_passwd": settings.password_hash, "lock_passwd": False}
        return found
    if settings.user:
        user: dict[str, Any] = {
            "name": settings.user,
            "groups": ["sudo"],
            "shell": "/bin/bash",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": not settings.password_hash,
        }
        if settings.password_hash:
            user["passwd"] = settings.password_hash
        return {"users": [user | ({"ssh_authorized_keys": keys} if keys else {})]}
    found = {"ssh_authorized_keys": keys} if keys else {}
    if settings.password_hash:
        found |= {"password": settings.password_hash, "chpasswd": {"expire": False}}
    return found


def merged(ours: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """The user's lists come after ours; of everything else theirs holds."""
    found = dict(ours)
    for key, value in extra.items():
        both = isinstance(found.get(key), list) and isinstance(value, list)
        found[key] = [*found[key], *value] if both else value
    return found


def network_config(nics: Sequence[tuple[str, NicSetup]]) -> str:
    """Netplan's version 2, each NIC known by its MAC address.

    Args:
        nics: MAC address and set-up of each.
    """
    ethernets = {}
    for index, (mac, nic) in enumerate(nics):
        entry: dict[str, Any] = {"match": {"macaddress": mac}, "dhcp4": nic.method == Method.DHCP}
        if index:
            entry["optional"] = True  # the boot does not wait for it
        if nic.method == Method.STATIC:
            entry["addresses"] = [nic.address]
            if nic.gateway:
                entry["routes"] = [{"to": "::/0" if ":" in nic.gateway else "0.0.0.0/0", "via": nic.gateway}]
            if nic.dns:
                entry["nameservers"] = {"addresses": list(nic.dns)}
        ethernets[f"nic{index + 1}"] = entry
    return _dump({"version": 2, "ethernets": ethernets})
