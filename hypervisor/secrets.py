"""libvirt's secrets on a host: what Ceph and iSCSI ask for. A value goes in and never comes out."""

import libvirt
from lxml import etree

from .links import HostLink
from .xmltools import add, render

SECONDS = 15.0


def secret_to_xml(uuid: str, usage: str, name: str) -> str:
    """The XML of a secret that survives a restart of libvirtd and that nobody can read back.

    Args:
        usage: "ceph" or "iscsi".
        name: unique on the host for its usage.
    """
    root = etree.Element("secret", ephemeral="no", private="yes")
    add(root, "uuid", uuid)
    found = add(root, "usage", type=usage)
    add(found, "target" if usage == "iscsi" else "name", name)
    return render(root)


def set_secret(link: HostLink, uuid: str, usage: str, name: str, value: bytes) -> None:
    """Define the secret, or give the one that is there this value."""

    def run(connection: libvirt.virConnect) -> None:
        connection.secretDefineXML(secret_to_xml(uuid, usage, name), 0).setValue(value, 0)

    link.call(run, timeout=SECONDS, what=f"setting the secret of {name}")


def remove_secret(link: HostLink, uuid: str) -> None:
    """One that is not there is fine."""

    def run(connection: libvirt.virConnect) -> None:
        try:
            connection.secretLookupByUUIDString(uuid).undefine()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_NO_SECRET, libvirt.VIR_ERR_NO_SUPPORT):
                raise

    link.call(run, timeout=SECONDS, what="removing a secret")
