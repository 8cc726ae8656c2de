"""Which fence agents are installed, and what each asks for: read from the agents' own metadata.

An agent runs on this machine, and some of its options name programs to start or files to write. So only agents that cut a
machine's power are offered, and of their options only those that say where the device is, who we are, and how long to wait.
"""

import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from lxml import etree

from hosts.address import valid_address
from portal.errors import FieldError

METADATA_SECONDS = 10
LONGEST_VALUE = 255


def _names(text: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + name for name in text.split())


# Not those that cut a machine's storage or network alone, or that only wait: after them guests may still run there.
_CUT_POWER = _names(
    "alom amt apc apc_snmp bladecenter cdu cisco_ucs cyberpower_ssh drac drac5 eaton_snmp ecloud emerson eps hpblade ibmblade idrac"
    " ilo ilo2 ilo3 ilo3_ssh ilo4 ilo4_ssh ilo5 ilo5_ssh ilo_moonshot ilo_mp ilo_ssh imm intelmodular ipdu ipmilan ipmilanplus"
    " lindypdu lpar netio powerman pve raritan raritan_px3 redfish rhevm rsa rsb tripplite_snmp virsh vmware_rest vmware_soap wti xenapi",
    "fence_",
)
_TEXTS = _names("ip username plug cipher target switch suborg redfish_uri systems_uri managed pve_node page api_path ipmitool_timeout")
_SECRETS = frozenset({"password", "snmp_priv_passwd", "community", "hexadecimal_kg"})
# These are typed at a prompt or quoted by the agents, so they may hold anything that prints.
_FREE = frozenset({"password", "snmp_priv_passwd"})
_FLAGS = _names(
    "ssl ssl_insecure ssl_secure ssh lanplus inet4_only inet6_only notls tls1.0 port_as_ip missing_as_off pve_node_auto use_cookies"
)
_NUMBERS = _names("ipport power_timeout power_wait login_timeout shell_timeout retry_on")
_CHOICES = _names("method auth privlvl snmp_version snmp_auth_prot snmp_priv_prot snmp_sec_level drac_version hmc_version")
# Where secrets go. With another destination they are asked for again: who may edit a host need not know them.
DESTINATION = _names("ip ipport plug port_as_ip target redfish_uri systems_uri api_path ssl ssl_insecure ssl_secure notls tls1.0 ssh")
_ADVANCED = _NUMBERS - {"ipport"} | {"inet4_only", "inet6_only", "method", "notls", "tls1.0", "ssl_secure", "port_as_ip", "missing_as_off"}
# Agents put values into command lines of their own: no spaces, quotes or backslashes, and nothing that looks like an option.
_PLAIN = re.compile(r"(?!-)[A-Za-z0-9._:/@,+=#%~\[\]-]+")
_MOST_SECONDS = 600


@dataclass(frozen=True)
class Field:
    """One option of an agent. kind: text, secret, flag, number, choice."""

    name: str
    kind: str
    help: str = ""
    default: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return _LABELS.get(self.name, self.name.replace("_", " ").capitalize())

    @property
    def advanced(self) -> bool:
        return self.name in _ADVANCED


_LABELS = {
    "ip": "Address",
    "ipport": "Port",
    "username": "User name",
    "plug": "Plug",
    "ssl": "TLS",
    "ssl_insecure": "Accept any certificate",
    "lanplus": "IPMI 2.0 (lanplus)",
    "redfish_uri": "Redfish URI",
    "systems_uri": "System's URI",
    "cipher": "Cipher suite",
    "ssh": "SSH",
    "hexadecimal_kg": "Hexadecimal Kg key",
    "privlvl": "Privilege level",
}


@dataclass(frozen=True)
class Agent:
    """A fence agent: `title` is what it says of itself."""

    name: str
    title: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)


def installed() -> list[str]:
    """The names of the agents that may be chosen, sorted."""
    directory = Path(settings.FENCE_AGENTS_DIR)
    return sorted(name for name in _CUT_POWER if (directory / name).is_file())


def program(name: str) -> Path:
    """The agent's program. Raises FieldError for any name that is not of an installed agent."""
    if name not in installed():
        raise FieldError("agent", "There is no such fence agent here. Install Debian's package fence-agents.")
    return Path(settings.FENCE_AGENTS_DIR) / name


def agent(name: str) -> Agent:
    """What an installed agent says of itself. Raises FieldError when there is none, or it says nothing sensible."""
    path = program(name)
    return _read(name, str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read(name: str, path: str, _changed: int) -> Agent:
    command = [path, "-o", "metadata"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=METADATA_SECONDS, env=ENVIRONMENT, cwd="/", check=True
        )
        return parse(name, done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        raise FieldError("agent", f"{name} does not describe itself.") from None


# Nothing of this process's own environment, which holds secrets.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def parse(name: str, xml: bytes) -> Agent:
    """From an agent's metadata. Raises ValueError when it is not metadata."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(xml, parser)  # noqa: S320  options above
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from None
    actions = {action.get("name") for action in root.iter("action")}
    if root.tag != "resource-agent" or not {"on", "off", "status"} <= actions:
        raise ValueError(f"{name} cannot switch a machine off and on")
    fields = [field for element in root.iter("parameter") if (field := _field(element)) is not None]
    fields.sort(key=lambda field: (field.advanced, _ORDER.get(field.name, len(_ORDER))))
    return Agent(name, (root.get("shortdesc") or name)[:200], tuple(fields))


_FIRST = ("ip", "ipport", "username", "password", "ssh", "ssl", "ssl_insecure", "lanplus", "plug", "systems_uri")
_ORDER = {name: place for place, name in enumerate(_FIRST)}


def _field(element: Any) -> Field | None:
    """None for an option that is old, or not to be set by a person."""
    name = element.get("name", "")
    kind = _kind(name)
    if element.get("deprecated") or not kind:
        return None
    content = element.find("content")
    default = (content.get("default") or "") if content is not None else ""
    choices = tuple(option.get("value", "") for option in content.iter("option")) if content is not None else ()
    help_text = " ".join((element.findtext("shortdesc") or "").split())[:300]
    required = name == "ip" or (element.get("required") == "1" and kind != "flag")
    return Field(name, kind if kind != "choice" or choices else "text", help_text, default, required, choices)


def _kind(name: str) -> str:
    kinds = {"text": _TEXTS, "secret": _SECRETS, "flag": _FLAGS, "number": _NUMBERS, "choice": _CHOICES}
    return next((kind for kind, names in kinds.items() if name in names), "")


def clean(chosen: Agent, values: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Options and secrets as they are stored: only what differs from the agent's defaults.

    Raises:
        FieldError: an option that the agent does not have, or a value that it cannot take.
    """
    options, secrets = {}, {}
    for name, value in values.items():
        field = chosen.field(name)
        if field is None:
            raise FieldError(name if _kind(name) else "options", f"{chosen.name} has no option “{name[:40]}” that can be set.")
        text = _text(field, value)
        if field.kind == "secret":
            if text:
                secrets[name] = text
        elif text and text != field.default:
            options[name] = text
    for field in chosen.fields:
        if field.required and field.kind != "secret" and not field.default and field.name not in options:
            raise FieldError(field.name, "This is needed.")
    return options, secrets


def _text(field: Field, value: Any) -> str:
    if field.kind == "flag":
        on = value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on")
        # The agents take a flag that is named for set, whatever its value: "0" is for those that are on by themselves.
        return "1" if on else ("0" if field.default == "1" else "")
    text = "" if value is None else str(value)
    if len(text) > LONGEST_VALUE:
        raise FieldError(field.name, f"At most {LONGEST_VALUE} characters.")
    if not text.isprintable():
        raise FieldError(field.name, "This holds line ends or other characters that do not print.")
    if field.name in _FREE:
        return text
    text = text.strip()
    if not text:
        return ""
    if field.name == "ip":
        return valid_address(text, "ip")
    if field.kind == "number":
        return _number(field, text)
    if field.kind == "choice" and text not in field.choices:
        raise FieldError(field.name, "Choose one of those that the agent knows.")
    if field.name.endswith("_uri") and not text.startswith("/"):
        raise FieldError(field.name, "A path that begins with “/”.")
    if not _PLAIN.fullmatch(text):
        raise FieldError(field.name, "Letters, digits and . _ : / @ , + = # % ~ [ ] - alone, and no “-” in front.")
    return text


def _number(field: Field, text: str) -> str:
    most = 65535 if field.name == "ipport" else _MOST_SECONDS
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise FieldError(field.name, f"A number from 0 to {most}.")
    return str(int(text))
