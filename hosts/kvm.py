"""Whether guests of a host may use hardware virtualization."""

from hosts.models import Host
from hypervisor.errors import HostUnreachable, HypervisorError
from hypervisor.links import HostLink
from hypervisor.virtualization import cpu_model_usable


def runs_guests(host: Host, link: HostLink) -> tuple[bool, str]:
    """True when KVM is there and can give guests the cluster's CPU model; and why, or why not.

    A /dev/kvm that opens proves nothing: a KVM that emulates another machine's may hang every kernel. Libvirt asks QEMU
    which features the real KVM has, and one that lacks what the CPU model needs is not used. Where even that answer
    is wrong, an administrator sets `emulation_only` (the lab does, after it has tried a real guest).
    """
    if host.emulation_only:
        return False, "the host is set to emulation only"
    if "kvm" not in host.capabilities.get("domain_types", []):
        return False, "libvirt offers no KVM there"
    model = host.cluster.cpu_model
    try:
        usable = cpu_model_usable(link, "kvm", model)
    except HostUnreachable:
        raise
    except HypervisorError as error:
        return False, f"libvirt cannot say what KVM can do there ({error})"
    return (
        (True, f"KVM can give guests the CPU model {model}") if usable else (False, f"KVM there cannot give guests the CPU model {model}")
    )
