"""The web process alone, on a seeded SQLite database of its own."""

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.stack import ROOT, free_port
from tests.waiting import until


class Server:
    """The web process of the Procfile alone, on a seeded SQLite database, and a Redis."""

    def __init__(self, seed: str) -> None:
        self.var = Path(tempfile.mkdtemp(prefix="vireo-bench-", dir="/tmp"))  # nosec B108 # mkdtemp makes it for us alone
        self.port = free_port()
        (self.var / "run").mkdir()
        environment = os.environ | {"VIREO_VAR": str(self.var), "DJANGO_SETTINGS_MODULE": "portal.settings", "VIREO_LOG_LEVEL": "ERROR"}
        environment |= {"VIREO_PORT": str(self.port), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for name in ("DATABASE_URL", "REDIS_URL"):
            environment.pop(name, None)
        socket = str(self.var / "run" / "redis.sock")
        self.redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""], stdout=subprocess.DEVNULL)
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
        self.environment = environment
        self.printed = self.shell(seed).split()
        web = next(line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith("web:")).removeprefix("web:")
        self.process = subprocess.Popen(["bash", "-c", f"exec {web} --timeout-keep-alive 120"], cwd=ROOT, env=environment)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        until(self._answers, 30, "the server to answer")

    def _answers(self) -> bool:
        try:
            return self.seconds("/sign-in/") > 0
        except OSError:
            self.connection.close()
            return False

    def shell(self, code: str) -> str:
        """What the code printed, run with Django and this database."""
        command = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
        return subprocess.run(command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True).stdout

    def seconds(self, path: str, cookie: str = "", token: str = "") -> float:
        """How long the answer to one GET takes, as a session or as a token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {"Cookie": f"vireo_session={cookie}"}
        begin = time.perf_counter()
        self.connection.request("GET", path, headers=headers)
        answer = self.connection.getresponse()
        answer.read()
        assert answer.status == 200, (path, answer.status)
        return time.perf_counter() - begin

    def stop(self) -> None:
        for process in (self.process, self.redis):
            process.terminate()
            process.wait(10)
        shutil.rmtree(self.var, ignore_errors=True)
