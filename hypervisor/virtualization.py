"""What a kind of virtualization can give to guests, as the host's libvirt says after asking its hypervisor."""

import libvirt

from .links import HostLink
from .xmltools import parse

ASK_SECONDS = 30.0


def cpu_model_usable(link: HostLink, virt_type: str, model: str) -> bool:
    """Whether guests of this type can have the CPU model with all features that belong to it.

    Args:
        virt_type: "kvm" or "qemu".

    Raises:
        NotSupported: the driver cannot say, or has no such type.
    """

    def ask(connection: libvirt.virConnect) -> bool:
        root = parse(connection.getDomainCapabilities(None, None, None, virt_type, 0), "domainCapabilities")
        for found in root.findall("cpu/mode[@name='custom']/model"):
            if (found.text or "").strip() == model:
                return found.get("usable") == "yes"
        return False

    return link.call(ask, timeout=ASK_SECONDS, what="reading what its virtualization can do")
