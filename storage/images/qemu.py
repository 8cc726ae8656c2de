"""qemu-img on images of strangers: with limits of memory, time and open files, without network, and on no file that we did not name.

What is opened is said by driver and file name as options of their own; a name that QEMU would take for a protocol, an
option or JSON cannot come about, and the format is what storage.images.probe found, never QEMU's guess.
"""

import functools
import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.images.probe import BadImage

MEMORY_BYTES = 2 << 30
CPU_SECONDS = 6 * 3600
INFO_SECONDS = 60
_DRIVERS = {"iso": "raw", "raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhdx": "vhdx"}
_PERCENT = re.compile(rb"\(([\d.]+)/100%\)")

Progress = Callable[[int, int], None]


class ConversionFailed(Exception):
    """qemu-img could not do it; the text is its own last line."""


@dataclass(frozen=True)
class Part:
    """A member of an archive, opened where it lies."""

    start: int
    size: int


def confirm(path: Path, format: str, virtual_bytes: int, part: Part | None = None) -> None:
    """QEMU sees what our probe saw: the size, and no other file.

    Raises:
        BadImage
    """
    done = subprocess.run(
        [*_jail(CPU_SECONDS), "qemu-img", "info", "--output=json", "--image-opts", options(path, format, part)],
        capture_output=True,
        timeout=INFO_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BadImage(f"The image is damaged: {_last_line(done.stderr, path)}")
    info = json.loads(done.stdout)
    names = {"backing-filename", "full-backing-filename", "encrypted"} & {name for name, value in info.items() if value}
    if names or "data-file" in info.get("format-specific", {}).get("data", {}):
        raise BadImage("The image names other files, or is encrypted.")
    if format != "raw" and format != "iso" and info["virtual-size"] != virtual_bytes:
        raise BadImage("The image says two different sizes of its disk.")


def convert(
    source: Path, format: str, target: Path, to: str, progress: Progress, *, part: Part | None = None, options_of: str = ""
) -> None:
    """Writes the whole image anew, in another format or without what the old one carried along.

    Args:
        progress: called about twice a second with (percent done, 100); raise in it to stop.
        options_of: -o options of the new image.

    Raises:
        ConversionFailed; what progress raises. The target is then gone.
    """
    target.unlink(missing_ok=True)
    more = ["-o", options_of] if options_of else []
    command = [
        *_jail(CPU_SECONDS),
        "qemu-img",
        "convert",
        "-p",
        "--image-opts",
        "-O",
        to,
        *more,
        options(source, format, part),
        str(target),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _follow(process, progress)
        assert process.stderr is not None
        errors = process.stderr.read()
        if process.wait(INFO_SECONDS):
            raise ConversionFailed(_last_line(errors, source))
    except BaseException:
        process.kill()
        process.wait()
        target.unlink(missing_ok=True)
        raise
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    target.chmod(0o600)


def _follow(process: "subprocess.Popen[bytes]", progress: Progress) -> None:
    assert process.stdout is not None
    told = 0.0
    while line := process.stdout.read1(4096):  # type: ignore[attr-defined]
        found = _PERCENT.findall(line)
        if found and time.monotonic() - told > 0.5:
            progress(int(float(found[-1])), 100)
            told = time.monotonic()


def options(path: Path, format: str, part: Part | None = None) -> str:
    """What opens this file, or this part of it, as this format and nothing else; a comma in a name is doubled."""
    name = str(path).replace(",", ",,")
    if part is None:
        return f"driver={_DRIVERS[format]},file.driver=file,file.filename={name}"
    inner = f"file.driver=raw,file.offset={part.start},file.size={part.size},file.file.driver=file,file.file.filename={name}"
    return f"driver={_DRIVERS[format]},{inner}"


def _last_line(text: bytes, path: Path) -> str:
    """QEMU's reason, without the path of our spool."""
    lines = text.decode(errors="replace").replace(str(path), path.name).strip().splitlines()
    return (lines[-1] if lines else "qemu-img ended without a reason")[:500]


def _jail(cpu_seconds: int) -> list[str]:
    limits = ["prlimit", f"--as={MEMORY_BYTES}", f"--cpu={cpu_seconds}", "--nofile=64", "--core=0", "--"]
    return [*_without_network(), *limits]


@functools.cache
def _without_network() -> tuple[str, ...]:
    """A network namespace of its own, as root or as a user where the kernel lets users make one; elsewhere nothing."""
    for command in (("unshare", "--net", "--"), ("unshare", "--map-current-user", "--net", "--")):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return ()
