"""Running one fence agent: options by its standard input, never on a command line, and its answer without secrets."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from django.core.exceptions import ValidationError

from audit.redact import HIDDEN, text
from hosts import ssh
from hosts.models import Host, HostTransport
from hosts.power import catalogue

# What a call may take in all: a BMC that is slow to log in to needs some, and switching off waits until it is off.
STATUS_SECONDS = 40
SWITCH_SECONDS = 120
CONNECT_SECONDS = 10
LONGEST_OUTPUT = 100_000
_OFF = 2  # the exit code of "status" for a machine that is off


@dataclass(frozen=True)
class Call:
    """An agent with its options, and the host that runs it instead of this machine."""

    agent: str
    options: Mapping[str, str]
    secrets: Mapping[str, str]
    proxy: Host | None = None


@dataclass(frozen=True)
class Answer:
    """Args: ok: the agent did what it was asked. state: "on", "off", or "" when that was not asked or not found. words: what it said."""

    ok: bool
    state: str = ""
    words: str = ""


def run(call: Call, action: str, seconds: float = 0) -> Answer:
    """Asks an agent for "status", "on" or "off". Whatever goes wrong is an answer, too."""
    seconds = seconds or (STATUS_SECONDS if action == "status" else SWITCH_SECONDS)
    try:
        command = _command(call)
    except (ValidationError, ValueError, OSError) as error:
        return Answer(False, words=_words_of(error))
    try:
        code, output = _finish(command, _lines(call, action), seconds)
    except OSError as error:
        return Answer(False, words=f"{call.agent} could not be started: {error.strerror}.")
    except subprocess.TimeoutExpired:
        return Answer(False, words=f"{call.agent} did not answer within {seconds:g} s.")
    words = scrub(output, call.secrets)
    if action != "status":
        return Answer(code == 0, words=words)
    return Answer(code in (0, _OFF), {0: "on", _OFF: "off"}.get(code, ""), words)


def _words_of(error: Exception) -> str:
    messages = getattr(error, "messages", None)
    return " ".join(messages) if messages else str(error)


def _command(call: Call) -> list[str]:
    """The agent here, or on the proxy, where it must be installed too. Its name is checked, whatever the database says."""
    program, host = catalogue.program(call.agent), call.proxy
    if host is None:
        return [str(program)]
    if host.transport != HostTransport.SSH:
        raise ValueError(f"{host.name} is not reached by SSH, so it cannot run fence agents.")
    options = ["-i", str(ssh.private_key()), "-o", f"UserKnownHostsFile={ssh.known_hosts(host)}", "-o", "GlobalKnownHostsFile=/dev/null"]
    for option in ("StrictHostKeyChecking=yes", "BatchMode=yes", "IdentitiesOnly=yes", f"ConnectTimeout={CONNECT_SECONDS}"):
        options += ["-o", option]
    user = host.ssh_user or "root"
    return [
        "ssh",
        "-F",
        "none",
        "-T",
        *options,
        "-p",
        str(host.port or ssh.SSH_PORT),
        "-l",
        user,
        "--",
        host.address,
        f"/usr/sbin/{call.agent}",
    ]


def _lines(call: Call, action: str) -> bytes:
    """One "name=value" a line. A value with a line end would be an option of its own."""
    values = {**call.options, **call.secrets, "action": action}
    for name, value in values.items():
        if not (name + value).isprintable():
            raise AssertionError("an option of a fence agent holds a control character")
    return "".join(f"{name}={_quoted(value)}\n" for name, value in values.items()).encode()


def _quoted(value: str) -> str:
    """The agents strip a line, and one pair of quotes around a value."""
    return f'"{value}"' if value != value.strip() or value[:1] == value[-1:] == '"' else value


def _finish(command: list[str], data: bytes, seconds: float) -> tuple[int, str]:
    """Exit code and output. An agent that takes too long ends with all that it started."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=catalogue.ENVIRONMENT,
        cwd="/",
    )
    try:
        output, _nothing = process.communicate(data, timeout=seconds)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return process.returncode, output[:LONGEST_OUTPUT].decode(errors="replace")


def scrub(output: str, secrets: Mapping[str, str]) -> str:
    """What may be shown of it: one line, without the secrets, however the agent wrote them."""
    forms = {
        form
        for value in secrets.values()
        if value
        for form in (value, quote(value), quote(value, safe=""), shlex.quote(value), repr(value)[1:-1])
    }
    for form in sorted(forms, key=len, reverse=True):
        output = output.replace(form, HIDDEN)
    lines = [line.strip() for line in output.splitlines()]
    return text(" · ".join(line for line in lines if line), 1000)
