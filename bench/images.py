"""Images through the browser's path, to a host of the lab and back, against a plain nginx on the same disk.

Both sides are asked by curl, in turn, and each reads what no page cache holds. VIREO_BENCH_IMAGE_GIB: a smaller file, for a quick run.
"""

import base64
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
from pathlib import Path

from bench.figures import Figure
from bench.memory import _pss_bytes
from tests.stack import Stack, free_port, free_subnet
from tests.waiting import until

MIB = 1 << 20
PART = 128 * MIB  # of one request, as the browser's
ROUNDS = 2
_NGINX = """
daemon off; pid nginx.pid; error_log nginx.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path temp; sendfile on;
  server {{ listen 127.0.0.1:{port}; root {root}; location / {{ dav_methods PUT; }} }}
}}
"""


def measure() -> list[Figure]:
    bytes_in_all = int(float(os.environ.get("VIREO_BENCH_IMAGE_GIB", "4")) * 2**30) // PART * PART
    stack = Stack(lab=("vireobench", free_subnet()))
    here = Path(tempfile.mkdtemp(prefix="vireo-bench-nginx-", dir="/tmp"))  # nosec B108 # mkdtemp makes it for us alone
    try:
        stack.start()
        stack.hosts_up(2)
        with _nginx(here) as peer:
            return _measure(stack, here, peer, bytes_in_all)
    finally:
        stack.stop()
        shutil.rmtree(here, ignore_errors=True)


def _measure(stack: Stack, here: Path, peer: str, size: int) -> list[Figure]:
    part, whole = here / "part", here / "whole"
    part.write_bytes(os.urandom(PART))
    with whole.open("wb") as file:
        for _ in range(size // PART):
            file.write(part.read_bytes())
    warm = _upload(stack, part, PART, "warm")[1]  # what the first request of each kind loads is not the file's
    _download(stack, warm)
    ours_up, theirs_up, grown, disk = [], [], [], ""
    for number in range(ROUNDS):
        os.sync()
        theirs_up.append(_curl("-T", str(whole), f"{peer}/upload{number}"))
        os.sync()
        with _Watched(_web_pid(stack)) as watched:
            seconds, disk = _upload(stack, part, size, str(number))
        ours_up.append(seconds)
        grown.append(watched.growth_mib)
        (here / f"upload{number}").unlink()
    job = stack.api("POST", f"/disks/{disk}/export", {"format": "raw"}).body
    assert stack.job_ends(job["id"], 600)["status"] == "succeeded"
    times: dict[str, list[float]] = {"nginx": [], "export": [], "host": []}
    volume, export = next(stack.var.glob(f"lab/**/{disk}.raw")), next(stack.var.glob(f"uploads/{disk}.export-raw"))
    for _ in range(ROUNDS):
        _forget(whole)
        times["nginx"].append(_curl(f"{peer}/whole"))
        _forget(export)
        times["export"].append(_download(stack, disk, "?format=raw"))
        _forget(volume)
        times["host"].append(_download(stack, disk))
    up = statistics.median(theirs_up) / statistics.median(ours_up)
    down, from_host = (statistics.median(times["nginx"]) / statistics.median(times[name]) for name in ("export", "host"))
    speeds = [size / MIB / statistics.median(seconds) for seconds in (theirs_up, times["nginx"])]
    return [
        Figure("upload_ratio", up, "ratio", f"at least 0.6; of {size / 2**30:g} GiB by curl to nginx, {speeds[0]:.0f} MiB/s"),
        Figure("download_ratio", down, "ratio", f"at least 0.6; of an export, to a file by nginx, {speeds[1]:.0f} MiB/s"),
        Figure("download_from_host_ratio", from_host, "ratio", "for comparison: straight from a host of the lab, by libvirt over TLS"),
        Figure("upload_memory_growth_mib", max(grown), "MiB", "within 20; of the web process at its largest"),
    ]


def _download(stack: Stack, disk: str, query: str = "") -> float:
    return _curl("-H", f"Authorization: Bearer {stack.token}", f"{stack.url}/api/v1/disks/{disk}/download{query}")


def _upload(stack: Stack, part: Path, size: int, name: str) -> tuple[float, str]:
    """Seconds that the browser's requests take; and the disk, once its job has brought it to the host."""
    told = {"filename": f"bench-{name}.raw", "domain": "shared", "format": "raw"}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
    known = ["-H", f"Authorization: Bearer {stack.token}", "-H", "Tus-Resumable: 1.0.0"]
    headers = _output(
        *known, "-X", "POST", "-H", f"Upload-Length: {size}", "-H", f"Upload-Metadata: {metadata}", f"{stack.url}/api/v1/uploads"
    )
    location = next(line.split()[1] for line in headers.splitlines() if line.lower().startswith("location:"))
    requests: list[str] = []
    for offset in range(0, size, PART):
        kind = ["-H", "Content-Type: application/offset+octet-stream", "-H", f"Upload-Offset: {offset}", "-H", "Expect:"]
        requests += (["--next", "-sS", "-f"] if requests else []) + [
            *known,
            *kind,
            "-X",
            "PATCH",
            "-T",
            str(part),
            "-D",
            "-",
            f"{stack.url}{location}",
        ]
    begin = os.times().elapsed
    answers = subprocess.run(["curl", "-sS", "-f", *requests], check=True, capture_output=True, text=True).stdout
    seconds = os.times().elapsed - begin
    disk = next(line.split("/")[2] for line in answers.splitlines() if line.lower().startswith("vireo-next:"))
    until(lambda: _is_ready(stack, disk), 600, "the image to be on its host", every=0.5)
    return seconds, disk


def _is_ready(stack: Stack, disk: str) -> bool:
    found = [row for row in stack.api("GET", "/images?limit=1000").body["items"] if row["id"] == disk]
    assert found, json.dumps(stack.api("GET", "/jobs").body)[:2000]
    return bool(found[0]["status"] == "ok")


def _curl(*arguments: str) -> float:
    command = ["curl", "-sS", "-f", "-o", "/dev/null", "-w", "%{time_total}", *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _output(*arguments: str) -> str:
    return subprocess.run(["curl", "-sS", "-f", "-D", "-", *arguments], check=True, capture_output=True, text=True).stdout


def _forget(path: Path) -> None:
    """The page cache holds nothing of the file from here on."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _web_pid(stack: Stack) -> int:
    """Of the web process itself, not of the shell that the process manager starts it by."""
    return next(
        pid
        for pid in stack.pids()
        if "python" in Path(f"/proc/{pid}/exe").resolve().name and b"portal.asgi" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


class _Watched:
    """How much larger a process gets than it was."""

    def __init__(self, pid: int) -> None:
        self.pid, self.before, self.most = pid, _pss_bytes(pid), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            self.most = max(self.most, _pss_bytes(self.pid))

    def __enter__(self) -> "_Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth_mib(self) -> float:
        return max(0, self.most - self.before) / MIB


class _nginx:
    """A server of its own, as whoever runs the benchmark."""

    def __init__(self, here: Path) -> None:
        self.here, self.port = here, free_port()

    def __enter__(self) -> str:
        user = "user root;" if os.getuid() == 0 else ""
        (self.here / "nginx.conf").write_text(user + _NGINX.format(port=self.port, root=self.here))
        command = ["nginx", "-p", str(self.here), "-c", "nginx.conf", "-e", "nginx.log"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{self.port}"
        until(lambda: subprocess.run(["curl", "-sS", "-o", "/dev/null", url], capture_output=True).returncode == 0, 10, "nginx to answer")
        return url

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)
