"""A domain's XML: spec in, XML out. Pure: the same spec gives the same text.

`from_xml` and `drift` read it back (domain_read), `amend_xml` changes an adopted domain (domain_amend).
"""

from lxml import etree

from .domain_amend import amend_xml
from .domain_devices import CLIPBOARD_CHANNEL, add_disk, add_graphics, add_nic, metadata_element, set_memory, set_vcpus
from .domain_read import Difference, drift, from_xml
from .spec import DomainSpec
from .xmltools import add, render

__all__ = ["Difference", "amend_xml", "drift", "from_xml", "to_xml"]

# Free PCIe slots for devices that are plugged in while it runs: q35 cannot grow any then.
SPARE_ROOT_PORTS = 8
BALLOON_PERIOD_SECONDS = 2


def to_xml(spec: DomainSpec) -> str:
    """The XML that defines this domain.

    Raises:
        ValueError: the spec contradicts itself, or holds characters that XML cannot.
    """
    _check(spec)
    root = etree.Element("domain", type=spec.virt_type)
    add(root, "name", spec.name)
    add(root, "uuid", spec.uuid)
    if spec.title:
        add(root, "title", spec.title)
    if spec.description:
        add(root, "description", spec.description)
    if spec.metadata.vm_id or spec.metadata.owner or spec.metadata.tags:
        add(root, "metadata").append(metadata_element(spec.metadata))
    set_memory(root, spec)
    set_vcpus(root, spec)
    _add_os(root, spec)
    _add_features(root, spec)
    _add_cpu(root, spec)
    clock = add(root, "clock", offset="utc")
    if spec.arch == "x86_64" and spec.virt_type != "test":
        add(clock, "timer", name="rtc", tickpolicy="catchup")
        add(clock, "timer", name="pit", tickpolicy="delay")
        add(clock, "timer", name="hpet", present="no")
    add(root, "on_poweroff", "destroy")
    add(root, "on_reboot", "restart")
    add(root, "on_crash", "destroy")
    _add_devices(root, spec)
    return render(root)


def _check(spec: DomainSpec) -> None:
    """Refuse what libvirt would refuse later, with a worse message."""
    memory_max = spec.memory_max_mib or spec.memory_mib
    vcpus_max = spec.vcpus_max or spec.vcpus
    if spec.memory_mib < 1 or memory_max < spec.memory_mib:
        raise ValueError(f"memory of {spec.memory_mib} MiB with at most {memory_max} MiB is impossible")
    if spec.vcpus < 1 or vcpus_max < spec.vcpus:
        raise ValueError(f"{spec.vcpus} virtual CPUs with at most {vcpus_max} are impossible")
    topology = (spec.sockets, spec.cores, spec.threads)
    if any(topology) and spec.sockets * spec.cores * spec.threads != vcpus_max:
        raise ValueError(f"{spec.sockets} sockets x {spec.cores} cores x {spec.threads} threads are not {vcpus_max} virtual CPUs")
    targets = [disk.target for disk in spec.disks]
    if len(set(targets)) != len(targets):
        raise ValueError("two disks have the same target")
    if spec.graphics and len(spec.graphics.password.encode()) > 8:
        raise ValueError("a VNC password has at most 8 characters")


def _add_os(root: etree._Element, spec: DomainSpec) -> None:
    os = add(root, "os", firmware="efi" if spec.firmware != "bios" else None)
    add(os, "type", "hvm", arch=spec.arch, machine=spec.machine if spec.virt_type != "test" else None)
    if spec.firmware != "bios":
        secure = "yes" if spec.firmware == "efi-secure" else "no"
        firmware = add(os, "firmware")
        add(firmware, "feature", enabled=secure, name="secure-boot")
        if secure == "yes":
            add(firmware, "feature", enabled="yes", name="enrolled-keys")
    for tag in ("kernel", "initrd", "cmdline"):
        if value := getattr(spec, tag):
            add(os, tag, value)
    for device in spec.boot_order:
        add(os, "boot", dev=device)


def _add_features(root: etree._Element, spec: DomainSpec) -> None:
    features = add(root, "features")
    add(features, "acpi")
    if spec.arch == "x86_64":
        add(features, "apic")
    if spec.firmware == "efi-secure":
        add(features, "smm", state="on")


def _add_cpu(root: etree._Element, spec: DomainSpec) -> None:
    topology = spec.sockets or spec.cores or spec.threads
    if not spec.cpu_mode and not topology:
        return
    cpu = add(root, "cpu", mode=spec.cpu_mode)
    if spec.cpu_mode == "custom":
        cpu.set("match", "exact")
        cpu.set("check", "none")
        add(cpu, "model", spec.cpu_model, fallback="forbid")
    elif spec.cpu_mode == "host-passthrough":
        cpu.set("check", "none")
    if topology:
        add(cpu, "topology", sockets=spec.sockets, cores=spec.cores, threads=spec.threads)


def _add_devices(root: etree._Element, spec: DomainSpec) -> None:
    devices = add(root, "devices")
    for disk in spec.disks:
        add_disk(devices, disk)
    _add_controllers(devices, spec)
    for nic in spec.nics:
        add_nic(devices, nic)
    if spec.serial:
        serial = add(devices, "serial", type="pty")
        add(serial, "target", port=0)
        console = add(devices, "console", type="pty")
        add(console, "target", type="serial", port=0)
    if spec.agent:
        channel = add(devices, "channel", type="unix")
        add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    if spec.clipboard:
        channel = add(devices, "channel", type="qemu-vdagent")
        source = add(channel, "source")
        add(source, "clipboard", copypaste="yes")
        add(channel, "target", type="virtio", name=CLIPBOARD_CHANNEL)
    if spec.tablet:
        add(devices, "input", type="tablet", bus="usb")
    if spec.graphics:
        add_graphics(devices, spec.graphics)
    video = add(devices, "video")
    add(video, "model", type=spec.video or "none")
    if spec.watchdog:
        add(devices, "watchdog", model="i6300esb", action=spec.watchdog)
    balloon = add(devices, "memballoon", model="virtio" if spec.balloon else "none")
    if spec.balloon:
        add(balloon, "stats", period=BALLOON_PERIOD_SECONDS)
    if spec.rng:
        rng = add(devices, "rng", model="virtio")
        add(rng, "backend", "/dev/urandom", model="random")


def _add_controllers(devices: etree._Element, spec: DomainSpec) -> None:
    if spec.virt_type == "test":
        return
    scsi = any(disk.bus == "scsi" for disk in spec.disks)
    if "q35" in spec.machine:
        # Each of these takes a port: libvirt fills those that are there before it adds any, so spare ones must come on top.
        used = len(spec.nics) + sum(disk.bus == "virtio" for disk in spec.disks)
        used += scsi + (spec.agent or spec.clipboard) + spec.tablet + spec.balloon + spec.rng
        add(devices, "controller", type="pci", index=0, model="pcie-root")
        for index in range(1, used + SPARE_ROOT_PORTS + 1):
            add(devices, "controller", type="pci", index=index, model="pcie-root-port")
    add(devices, "controller", type="usb", index=0, model="qemu-xhci" if spec.tablet else "none")
    if scsi:
        add(devices, "controller", type="scsi", index=0, model="virtio-scsi")
    if spec.agent or spec.clipboard:
        add(devices, "controller", type="virtio-serial", index=0)
