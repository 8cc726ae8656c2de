"""A real Debian cloud image out of Debian's own packages: cloud-init, guest agent, OpenSSH; no password, no key, no name.

Made by mmdebstrap and mke2fs without a mount or a loop device, as root: about three minutes and 150 MB of packages. It
boots from its own disk: syslinux, kernel and initrd on a small FAT partition, the system on the last one, so that
cloud-init can grow it. The kernel is held, for upgrades do not reach the first partition.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.guest import PARTITION_SECTOR, SECTOR_BYTES, GuestNotBuilt, _run

RELEASE = "bookworm"
DISK_BYTES = 2 << 30
BOOT_MIB = 64
PACKAGES = (
    "linux-image-cloud-amd64", "systemd-sysv", "udev", "cloud-init", "qemu-guest-agent", "openssh-server", "iproute2", "iputils-ping",
    "netplan.io", "systemd-resolved", "dbus", "ifupdown-", "initramfs-tools", "e2fsprogs", "cloud-guest-utils", "fdisk", "login", "sudo",
    "util-linux", "passwd", "vim-tiny", "less",
)  # fmt: skip
TOOLS = ("setpriv", "unshare", "mmdebstrap", "mke2fs", "mkfs.fat", "mcopy", "syslinux", "sfdisk", "qemu-img")
ROOT_START = PARTITION_SECTOR + BOOT_MIB * (1 << 20) // SECTOR_BYTES
SYSLINUX = (
    "DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n  KERNEL /vmlinuz\n  INITRD /initrd\n"
    "  APPEND root=LABEL=root ro console=tty0 console=ttyS0\n"
)
CLOUD_CFG = "datasource_list: [NoCloud, None]\nssh_genkeytypes: [ed25519]\n"
# Packages that a finished system has, about: for the progress bar.
EXPECTED_PACKAGES = 235
SHARE_OF_SYSTEM = 0.75
_POLL_SECONDS = 1.0
_BUILDING = ".build-"
# mmdebstrap mounts /proc, /sys and parts of /dev in what it makes. In a mount namespace of its own nobody who removes the
# directory walks into them, and in a process namespace it ends whole, at once: when it is stopped, and when its worker dies.
ALONE = (
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip

Progress = Callable[[float], None]


def recipe() -> str:
    """Another one when the image must be made again."""
    text = "2".join([RELEASE, SYSLINUX, CLOUD_CFG, str(DISK_BYTES), *PACKAGES])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def missing_tools() -> list[str]:
    """What this machine lacks to build the image."""
    return [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None]


def path_of(cache: Path) -> Path:
    return cache / "debian" / recipe() / "disk.qcow2"


def build(cache: Path, progress: Progress = lambda share: None) -> Path:
    """The image from the cache, or built into it.

    Args:
        progress: called about once a second with the share that is done; raise in it to stop.

    Raises:
        GuestNotBuilt: a tool is missing or failed; the text says which.
    """
    target = path_of(cache)
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            if missing := missing_tools():
                raise GuestNotBuilt(f"{', '.join(missing)} is not installed here.")
            for leftover in target.parent.parent.glob(f"{_BUILDING}*"):
                shutil.rmtree(leftover, ignore_errors=True)  # of a worker that died
            with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix=_BUILDING) as work:
                _build(Path(work), progress)
                shutil.rmtree(target.parent, ignore_errors=True)
                (Path(work) / "out").rename(target.parent)
    return target


def _build(work: Path, progress: Progress) -> None:
    root, out = work / "root", work / "out"
    out.mkdir()
    _make_system(root, progress)
    _make_ready(root)
    progress(SHARE_OF_SYSTEM)
    _make_disk(work, root, out, progress)


def _make_system(root: Path, progress: Progress) -> None:
    command = [
        *ALONE, "mmdebstrap", "--variant=minbase", "--mode=root", '--aptopt=Apt::Install-Recommends "false"', f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")),
        RELEASE, str(root),
    ]  # fmt: skip
    with stoppable(command) as running:
        while running():
            installed = len(list((root / "var/lib/dpkg/info").glob("*.list"))) if root.exists() else 0
            progress(SHARE_OF_SYSTEM * min(installed / EXPECTED_PACKAGES, 1))


@contextmanager
def stoppable(command: list[str]) -> Iterator[Callable[[], bool]]:
    """Runs it; the body asks, once a second, whether it still does. Leaving the body early ends it."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        ended = threading.Event()
        threading.Thread(target=lambda: (process.wait(), ended.set()), daemon=True).start()
        try:
            yield lambda: not ended.wait(_POLL_SECONDS)
        except BaseException:
            process.kill()
            ended.wait(30)
            raise
        if process.returncode:
            log.seek(0)
            raise GuestNotBuilt(f"{command[0]} failed: {log.read().decode(errors='replace')[-800:].strip()}")


def _make_ready(root: Path) -> None:
    """What each guest must have of its own goes; what a cloud image says of itself comes."""
    for name in ("etc/hostname", "etc/resolv.conf", "etc/machine-id", "var/lib/dbus/machine-id"):
        (root / name).unlink(missing_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for leftover in (*(root / "var/lib/apt/lists").glob("*_*"), *(root / "var/cache/apt").glob("*.bin")):
        leftover.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    (root / "etc/fstab").write_text("LABEL=root / ext4 defaults,errors=remount-ro 0 1\n")
    (root / "etc/cloud/cloud.cfg.d/90_image.cfg").write_text(CLOUD_CFG)
    for timer in ("e2scrub_all", "apt-daily", "apt-daily-upgrade", "dpkg-db-backup"):
        link = root / f"etc/systemd/system/{timer}.timer"
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    held = "linux-image-cloud-amd64 hold\n"
    subprocess.run(["dpkg", f"--root={root}", "--set-selections"], input=held.encode(), check=True, capture_output=True)


def _make_disk(work: Path, root: Path, out: Path, progress: Progress) -> None:
    raw, offset = work / "disk.raw", PARTITION_SECTOR * SECTOR_BYTES
    with raw.open("wb") as file:
        file.truncate(DISK_BYTES)
    table = f"label: dos\nstart={PARTITION_SECTOR}, size={BOOT_MIB}MiB, type=6, bootable\nstart={ROOT_START}, type=83\n"
    subprocess.run(["sfdisk", "--quiet", str(raw)], input=table.encode(), check=True, capture_output=True)
    _run("mkfs.fat", "-F", "16", "-n", "BOOT", f"--offset={PARTITION_SECTOR}", "-h", str(PARTITION_SECTOR), raw, str(BOOT_MIB << 10))
    (work / "syslinux.cfg").write_text(SYSLINUX)
    kernel, initrd = (next((root / "boot").glob(f"{name}-*")) for name in ("vmlinuz", "initrd.img"))
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd"), (work / "syslinux.cfg", "syslinux.cfg")):
        _run("mcopy", "-i", f"{raw}@@{offset}", source, f"::{name}")
    _run("syslinux", "--install", "--offset", str(offset), raw)
    progress(0.8)
    start = ROOT_START * SECTOR_BYTES
    blocks = (DISK_BYTES - start) >> 12
    _run(
        "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "root", "-d", root, "-E", f"offset={start},root_owner=0:0", raw, str(blocks)
    )
    with raw.open("r+b") as file:
        file.write(Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes()[:440])
        file.flush()
        os.fsync(file.fileno())
    progress(0.9)
    _run("qemu-img", "convert", "-O", "qcow2", raw, out / "disk.qcow2")
