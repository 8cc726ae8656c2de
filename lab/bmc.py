"""The power button of the lab's hosts: a small Redfish service over TLS, as server boards have one each.

It listens on the lab's bridge, in a process of its own: `python -m lab.bmc`, started by `manage.py lab up`. Off ends every process
of a host, its guests too; on starts it again. Debian's fence_redfish works with it as with any other.
"""

import argparse
import hmac
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64decode
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hosts.pki import CertificateAuthority
from lab import namespaces
from lab.cluster import Lab
from lab.namespaces import LabError
from lab.node import Node

PORT = 8443
USER = "vireo"
START_SECONDS = 15
LOOK_SECONDS = 5.0
SYSTEMS = "/redfish/v1/Systems"
RESET = "/Actions/ComputerSystem.Reset"
LARGEST_BODY = 4096


@dataclass(frozen=True)
class Access:
    """What a fence agent needs to reach the service."""

    address: str
    port: int
    username: str
    password: str

    def options(self, node: str) -> dict[str, str]:
        """Options of fence_redfish for one host."""
        return {
            "ip": self.address,
            "ipport": str(self.port),
            "username": self.username,
            "password": self.password,
            "ssl_insecure": "1",
            "systems_uri": f"{SYSTEMS}/{node}",
        }


class Bmc:
    """The service of one lab, as those who start and end it see it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @property
    def _pid_file(self) -> Path:
        return self.lab.root / "bmc.pid"

    def access(self) -> Access | None:
        """None where it was never started."""
        path = self.lab.root / "bmc.password"
        return Access(self.lab.gateway, PORT, USER, path.read_text()) if path.exists() else None

    def pid(self) -> int:
        """0 when it does not run; a number that another process has by now does not count."""
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return 0
        return pid if b"lab.bmc" in command and str(self.lab.root).encode() in command else 0

    def start(self) -> None:
        """Returns when it listens. Raises LabError."""
        if self.pid():
            return
        self._write_files()
        lab = self.lab
        command = [sys.executable, "-m", "lab.bmc", "--name", lab.name, "--subnet", str(lab.network), "--root", str(lab.root)]
        command += ["--pki", str(lab.ca.directory), "--hosts", str(lab.count)]
        with (lab.root / "bmc.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=Path(__file__).parent.parent
            )
        self._pid_file.write_text(str(process.pid))
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"The lab's power service did not start: {(lab.root / 'bmc.log').read_text()[-1500:]}")
            time.sleep(0.05)

    def _write_files(self) -> None:
        """Certificate and password, for root alone."""
        pair = self.lab.ca.issue_host("bmc", [self.lab.gateway])
        for name, content in (("bmc.pem", pair.cert_pem + pair.key_pem), ("bmc.password", self._password())):
            path = self.lab.root / name
            path.touch(mode=0o600)
            path.write_bytes(content)

    def _password(self) -> bytes:
        """The old one while there is one: agents know it."""
        path = self.lab.root / "bmc.password"
        return path.read_bytes() if path.exists() else secrets.token_urlsafe(18).encode()

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.lab.gateway, PORT), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if pid := self.pid():
            namespaces.end([pid], signal.SIGTERM)
        self._pid_file.unlink(missing_ok=True)


class Server(ThreadingHTTPServer):
    """Serves until the lab's bridge is gone."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, lab: Lab, password: str) -> None:
        super().__init__((lab.gateway, PORT), Handler)
        self.lab, self.password = lab, password
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(lab.root / "bmc.pem")
        # The handshake is left to the thread of each connection.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._busy: dict[str, threading.Lock] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is no news."""

    def watch_bridge(self) -> None:
        while Path("/sys/class/net", self.lab.bridge).exists():
            time.sleep(LOOK_SECONDS)
        os._exit(0)

    def press(self, node: Node, on: bool) -> None:
        """One at a time for each host; on returns before the host has booted, as with any machine."""
        lock = self._busy.setdefault(node.name, threading.Lock())
        with lock:
            if not on:
                node.kill()
        if on:
            threading.Thread(target=self._boot, args=(node, lock)).start()

    @staticmethod
    def _boot(node: Node, lock: threading.Lock) -> None:
        with lock:
            try:
                node.up()
            except LabError as error:
                sys.stderr.write(f"{error}\n")


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {format % args}\n")
        sys.stderr.flush()

    def do_GET(self) -> None:
        if not self._allowed():
            return
        nodes = {node.name: node for node in self.server.lab.nodes()}
        path = self.path.rstrip("/")
        if path == "/redfish/v1":
            self._answer({"@odata.id": path, "Systems": {"@odata.id": SYSTEMS}})
        elif path == SYSTEMS:
            self._answer({"@odata.id": path, "Members": [{"@odata.id": f"{SYSTEMS}/{name}"} for name in nodes]})
        elif node := nodes.get(path.removeprefix(f"{SYSTEMS}/")):
            self._answer(_system(node))
        else:
            self._answer({"error": "there is no such resource"}, HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if not self._allowed():
            return
        name = self.path.removeprefix(f"{SYSTEMS}/").removesuffix(RESET)
        try:
            node = self.server.lab.node(name)
            body = json.loads(self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST_BODY)))
            on = {"On": True, "ForceOff": False, "GracefulShutdown": False}[body["ResetType"]]
        except LabError:
            self._answer({"error": "there is no such system"}, HTTPStatus.NOT_FOUND)
        except (ValueError, KeyError, TypeError):
            self._answer({"error": "ResetType is On, ForceOff or GracefulShutdown"}, HTTPStatus.BAD_REQUEST)
        else:
            self.server.press(node, on)
            self._answer({})

    def _allowed(self) -> bool:
        try:
            given = b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        except ValueError:
            given = ""
        if hmac.compare_digest(given.encode(), f"{USER}:{self.server.password}".encode()):
            return True
        self.close_connection = True
        self._answer({"error": "who are you?"}, HTTPStatus.UNAUTHORIZED)
        return False

    def _answer(self, value: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _system(node: Node) -> dict[str, Any]:
    """On while any process of the host lives: one whose libvirtd died alone is on."""
    uri = f"{SYSTEMS}/{node.name}"
    actions = {
        "#ComputerSystem.Reset": {"target": uri + RESET, "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown"]}
    }
    state = "On" if namespaces.pids_in(node.wiring.netns) else "Off"
    return {"@odata.id": uri, "Id": node.name, "Name": node.name, "PowerState": state, "Actions": actions}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("name", "subnet", "root", "pki"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--hosts", type=int, required=True)
    given = parser.parse_args()
    lab = Lab(given.name, given.subnet, Path(given.root), CertificateAuthority(Path(given.pki)), given.hosts)
    server = Server(lab, (lab.root / "bmc.password").read_text())
    threading.Thread(target=server.watch_bridge, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
