"""The tiny guest: Debian's cloud kernel and a busybox initrd on a bootable 64 MiB disk.

It prints to screen and serial console, gets an address by DHCP, runs QEMU's guest agent, shares its
clipboard and answers ACPI power-off; a login-less shell waits on both consoles. Built from Debian packages that are unpacked, never installed, without a mount or
a loop device: `syslinux` writes into the FAT file system of the image.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# In the order of their dependencies: all of these are modules in the cloud kernel.
MODULES = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "failover", "net_failover",
    "virtio_net", "virtio_blk", "virtio_scsi", "virtio_console", "virtio_balloon", "virtio-rng", "button", "evdev",
)  # fmt: skip
PARTITION_SECTOR = 2048
SECTOR_BYTES = 512
DISK_MIB = 64
RECIPE = "2"  # raise it when the image must be built again

INIT = """#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=linux
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /proc /sys /run /tmp /root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devpts devpts /dev/pts
echo 4 > /proc/sys/kernel/printk
for module in /modules/*.ko; do insmod $module 2>/dev/null; done
hostname tiny
ip link set lo up
say() { for console in /dev/tty1 /dev/ttyS0; do echo "$@" > $console; done; }
say ""
say "Vireo tiny Linux: $(uname -r) on $(nproc) CPU, $(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo) MiB"
mkdir -p /etc /run /var && ln -sf /run /var/run
printf 'tiny\\n' > /etc/hostname
acpid -f -c /etc/acpi -l /run/acpid.log -p /run/acpid.pid &
port=$(ls -d /sys/class/virtio-ports/*/name 2>/dev/null | while read file; do
  [ "$(cat $file)" = org.qemu.guest_agent.0 ] && basename $(dirname $file); done)
[ -n "$port" ] && qemu-ga -m virtio-serial -p /dev/$port -t /run -d
/etc/clipboard.sh &
if [ -e /sys/class/net/eth0 ]; then
  ip link set eth0 up
  (udhcpc -i eth0 -s /etc/udhcpc.sh -q -t 20 -T 1 >/dev/null 2>&1
   say "Address: $(ip -4 -o addr show eth0 | awk '{print $4}')") &
fi
say "Ready. A shell is on this console."
shell() { while :; do setsid sh -c "exec sh -i <$1 >$1 2>&1"; done; }
shell /dev/tty1 &
shell /dev/ttyS0 &
while :; do wait; sleep 1; done
"""
DHCP_SCRIPT = """#!/bin/sh
case "$1" in
  bound|renew) ip addr flush dev $interface; ip addr add $ip/${mask:-24} dev $interface
    [ -n "$router" ] && ip route replace default via $router ;;
esac
"""
# The guest's end of the clipboard, in the words of spice's vd_agent.h; `clip TEXT` puts a text on it.
CLIPBOARD = r"""#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
port=$(ls -d /sys/class/virtio-ports/*/name 2>/dev/null | while read file; do
  [ "$(cat $file)" = com.redhat.spice.0 ] && basename $(dirname $file); done)
[ -n "$port" ] || exit 0
CLIPBOARD=4 CAPABILITIES=6 GRAB=7 REQUEST=8 UTF8=1
u32() { printf "\\$(printf %03o $(($1 & 255)))\\$(printf %03o $(($1 >> 8 & 255)))\\000\\000"; }
number() { dd bs=4 count=1 <&3 2>/dev/null | od -An -tu4 | tr -d ' '; }
send() {  # message type, file with its data
  size=$(wc -c < $2)
  { u32 1; u32 $((20 + size)); u32 1; u32 $1; u32 0; u32 0; u32 $size; cat $2; } > $2.out
  cat $2.out >&3
}
text() { u32 $UTF8 > /run/$1; [ -z "$2" ] || cat $2 >> /run/$1; }
exec 3<>/dev/$port
touch /run/clipboard
mkfifo /run/clip
{ u32 0; u32 32; } > /run/caps  # bit 5: a text is sent only when it is asked for
send $CAPABILITIES /run/caps
while :; do copied=$(cat /run/clip); printf %s "$copied" > /run/clipboard; text grab; send $GRAB /run/grab; done &
while :; do
  number >/dev/null; size=$(number); number >/dev/null
  kind=$(number); number >/dev/null; number >/dev/null; number >/dev/null
  [ -n "$kind" ] || exit 0
  dd bs=$((size - 20)) count=1 <&3 2>/dev/null > /run/data
  case $kind in
    $GRAB) text request; send $REQUEST /run/request ;;
    $REQUEST) text answer /run/clipboard; send $CLIPBOARD /run/answer ;;
    $CLIPBOARD) tail -c +5 /run/data | tr -d '\000' > /run/clipboard ;;  # QEMU ends it with a NUL
  esac
done
"""
CLIP = '#!/bin/sh\nprintf %s "$*" > /run/clip\n'
POWER_OFF = "#!/bin/sh\nsync\npoweroff -f\n"
SYSLINUX = "DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n  KERNEL /vmlinuz\n  INITRD /initrd\n  APPEND console=ttyS0 console=tty0\n"


class GuestNotBuilt(Exception):
    """A tool failed while the image was made; the text says which."""


@dataclass(frozen=True)
class GuestImage:
    """Paths of the built guest: a bootable qcow2, and its kernel and initrd for direct boot."""

    disk: Path
    kernel: Path
    initrd: Path


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise GuestNotBuilt(f"{' '.join(str(part) for part in command)} failed: {done.stderr.strip()[-800:]}")
    return done.stdout


def _kernel_package() -> str:
    for line in _run("apt-cache", "depends", "linux-image-cloud-amd64").splitlines():
        if "Depends: linux-image" in line:
            return line.split()[-1]
    raise GuestNotBuilt("apt knows no linux-image-cloud-amd64; run apt-get update")


def build(cache: Path) -> GuestImage:
    """The guest from the cache, or built into it (a few seconds and 30 MB of packages). Raises GuestNotBuilt."""
    recipe = hashlib.sha256("".join([RECIPE, INIT, DHCP_SCRIPT, CLIPBOARD, CLIP, POWER_OFF, SYSLINUX, *MODULES]).encode()).hexdigest()[:12]
    target = cache / "guest" / recipe
    image = GuestImage(target / "disk.qcow2", target / "vmlinuz", target / "initrd")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.disk.exists():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as work:
                _build(Path(work))
                shutil.rmtree(target, ignore_errors=True)
                (Path(work) / "out").rename(target)
    return image


def _build(work: Path) -> None:
    downloads, kernel_root, agent_root, out = (work / name for name in ("deb", "kernel", "agent", "out"))
    for directory in (downloads, out):
        directory.mkdir()
    packages = (_kernel_package(), "qemu-guest-agent")
    _run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *packages, cwd=downloads)
    for deb in downloads.glob("*.deb"):
        _run("dpkg-deb", "-x", deb, kernel_root if deb.name.startswith("linux-image") else agent_root)
    shutil.copy(next((kernel_root / "boot").glob("vmlinuz-*")), out / "vmlinuz")
    _make_initrd(work / "root", kernel_root, agent_root, out / "initrd")
    _make_disk(work, out)


def _make_initrd(root: Path, kernel_root: Path, agent_root: Path, target: Path) -> None:
    for directory in ("bin", "sbin", "usr/bin", "usr/sbin", "etc/acpi/PWRF", "modules", "dev", "proc", "sys", "run", "tmp", "root"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in _run("/bin/busybox", "--list").split():
        link = root / "bin" / applet
        if not link.exists():
            link.symlink_to("busybox")
    agent = agent_root / "usr/sbin/qemu-ga"
    shutil.copy(agent, root / "sbin/qemu-ga")
    for line in _run("ldd", agent).splitlines():
        library = next((Path(word) for word in line.split() if word.startswith("/")), None)
        if library is not None:
            (root / library.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
            shutil.copy(library.resolve(), root / library.relative_to("/"))
    found = {module.stem: module for module in kernel_root.rglob("*.ko")}
    for number, name in enumerate(MODULES):
        shutil.copy(found[name], root / "modules" / f"{number:02}-{name}.ko")
    scripts = {
        "init": INIT,
        "etc/udhcpc.sh": DHCP_SCRIPT,
        "etc/acpi/PWRF/00000080": POWER_OFF,
        "etc/clipboard.sh": CLIPBOARD,
        "bin/clip": CLIP,
    }
    for path, text in scripts.items():
        (root / path).write_text(text)
        (root / path).chmod(0o755)
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*"))) + "\n"
    archive = subprocess.run(
        ["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], cwd=root, input=names.encode(), capture_output=True, check=True
    ).stdout
    target.write_bytes(subprocess.run(["gzip", "-6", "-n"], input=archive, capture_output=True, check=True).stdout)


def _make_disk(work: Path, out: Path) -> None:
    """A DOS-partitioned disk with one active FAT partition, its boot sector by syslinux."""
    raw, offset = work / "disk.raw", PARTITION_SECTOR * SECTOR_BYTES
    with raw.open("wb") as file:
        file.truncate(DISK_MIB << 20)
    table = f"label: dos\nstart={PARTITION_SECTOR}, type=6, bootable\n"
    subprocess.run(["sfdisk", "--quiet", str(raw)], input=table.encode(), check=True, capture_output=True)
    sectors = (DISK_MIB << 20) // SECTOR_BYTES - PARTITION_SECTOR
    _run("mkfs.fat", "-F", "16", f"--offset={PARTITION_SECTOR}", "-h", str(PARTITION_SECTOR), raw, str(sectors * SECTOR_BYTES // 1024))
    (work / "syslinux.cfg").write_text(SYSLINUX)
    for source, name in ((out / "vmlinuz", "vmlinuz"), (out / "initrd", "initrd"), (work / "syslinux.cfg", "syslinux.cfg")):
        _run("mcopy", "-i", f"{raw}@@{offset}", source, f"::{name}")
    _run("syslinux", "--install", "--offset", str(offset), raw)
    with raw.open("r+b") as file:
        file.write(Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes()[:440])
        file.flush()
        os.fsync(file.fileno())
    _run("qemu-img", "convert", "-O", "qcow2", raw, out / "disk.qcow2")
