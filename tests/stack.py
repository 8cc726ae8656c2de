"""The real stack, started as a user starts it: scripts/run.sh with a VAR, a port and a lab of its own."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent
ADMIN_PASSWORD = "a stack's own password"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_subnet() -> str:
    """For a lab of one's own, where no interface of this machine has an address."""
    taken = Path("/proc/net/fib_trie").read_text()
    return next(f"10.{second}.{third}.0/24" for second in random.sample(range(80, 250), 100) for third in (7, 77) if f"10.{second}.{third}." not in taken)


@dataclass
class Answer:
    status: int
    body: Any


@dataclass
class Stack:
    """Vireo with all its processes.

    Args:
        lab: name and subnet of its lab; None starts without one.
    """

    lab: tuple[str, str] | None = None
    database_url: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.var = Path(tempfile.mkdtemp(prefix="vireo-stack-", dir="/tmp"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""
        # The guest is built once per checkout, not once per test run.
        cache = ROOT / "var" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        (self.var / "cache").symlink_to(cache)

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("VIREO_") and name not in ("DATABASE_URL", "REDIS_URL")
        }
        own = {"VIREO_VAR": str(self.var), "VIREO_PORT": str(self.port), "VIREO_ADMIN_PASSWORD": ADMIN_PASSWORD, "VIREO_LAB": "0"}
        if self.lab:
            own |= {"VIREO_LAB": "1", "VIREO_LAB_NAME": self.lab[0], "VIREO_LAB_SUBNET": self.lab[1]}
        if self.database_url:
            own["DATABASE_URL"] = self.database_url
        return kept | own | self.extra

    def start(self) -> "Stack":
        log = (self.var / "stack.log").open("wb")
        self._process = subprocess.Popen(
            [str(ROOT / "scripts" / "run.sh")],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        until(self._serves, 300, "Vireo to serve its sign-in page", every=0.2)
        return self

    def _serves(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"run.sh ended with {self._process.returncode}:\n{self.log()}")
        try:
            with urllib.request.urlopen(f"{self.url}/sign-in/", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def log(self) -> str:
        return (self.var / "stack.log").read_text(errors="replace")[-8000:]

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        (self.var / "cache").unlink(missing_ok=True)
        shutil.rmtree(self.var, ignore_errors=True)

    def manage(self, *arguments: str) -> str:
        """Runs manage.py beside the stack; its output."""
        command = [str(ROOT / "var/venv/bin/python"), "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()

    @property
    def token(self) -> str:
        if not self._token:
            self._token = self.manage("token", "create", "admin").splitlines()[-1]
        return self._token

    def api(self, method: str, path: str, body: Any = None) -> Answer:
        """One call of the REST API as the administrator."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, json.load(answer))
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.loads(error.read() or b"null"))

    def hosts_up(self, count: int) -> None:
        until(lambda: self.api("GET", "/hosts?status=up").body["count"] >= count, 120, f"{count} hosts to be up", every=0.3)

    def job_ends(self, job_id: str, seconds: float = 90) -> dict[str, Any]:
        """The job once it has ended, however it ended."""
        return until(lambda: self._ended(job_id), seconds, "the job to end", every=0.1)

    def _ended(self, job_id: str) -> dict[str, Any] | None:
        job = self.api("GET", f"/jobs/{job_id}").body
        return job if job["status"] in ("succeeded", "failed", "cancelled") else None

    def make_vm(self, name: str, start: bool = True) -> dict[str, Any]:
        """A VM of the lab's template, once its job has succeeded."""
        answer = self.api("POST", "/vms", {"name": name, "cluster": "Default", "template": "Tiny Linux", "start": start})
        assert answer.status == 202, answer
        job = self.job_ends(answer.body["job"]["id"])
        assert job["status"] == "succeeded", job
        return self.api("GET", f"/vms/{answer.body['vm']['id']}").body

    def pids(self) -> list[int]:
        """Every process of Vireo's own: all below run.sh, which excludes libvirtd and the guests."""
        assert self._process is not None
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found, todo = [], [self._process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found
