"""What a guest is told at its first boot: a frozen value, checked once, and kept encrypted as a whole."""

import ipaddress
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import yaml
from django.db import models

from accounts.keys.services import parse as parse_key
from portal.errors import FieldError
from portal.secrets import decrypt, encrypt

MOST_KEYS = 50
LONGEST_SCRIPT = 64 << 10
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_COMPUTER = re.compile(r"(?!-)(?!\d+$)[A-Za-z0-9-]{1,15}(?<!-)")
_PRODUCT_KEY = re.compile(r"([A-Z0-9]{5}-){4}[A-Z0-9]{5}")
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class SetUpBy(models.TextChoices):
    """Which program in the guest reads the settings."""

    NONE = "none", "Nothing"
    CLOUD_INIT = "cloud-init", "cloud-init (Linux)"
    SYSPREP = "sysprep", "Windows Setup"


class Method(models.TextChoices):
    DHCP = "dhcp", "DHCP"
    STATIC = "static", "Fixed address"
    OFF = "off", "No address"


@dataclass(frozen=True)
class NicSetup:
    """How the guest sets up one NIC, by the NIC's name.

    Args:
        address: with its prefix, "192.0.2.10/24"; only with `static`, as are the others.
        gateway: "" for none.
    """

    name: str
    method: str = Method.DHCP
    address: str = ""
    gateway: str = ""
    dns: tuple[str, ...] = ()


@dataclass(frozen=True)
class FirstBoot:
    """Everything that the seed CD says.

    Args:
        hostname: "" makes one of the VM's name.
        user: cloud-init: who gets password and keys; "" is the image's own user.
        password: as typed; of cloud-init only its hash is kept.
        nics: those that are not named get an address by DHCP.
        script: runs once, as root, at the end of the first boot.
        user_data: further cloud-config, merged into ours.
    """

    by: str = SetUpBy.NONE
    hostname: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    password_hash: str = field(default="", repr=False)
    ssh_keys: tuple[str, ...] = ()
    nics: tuple[NicSetup, ...] = ()
    script: str = field(default="", repr=False)
    user_data: str = field(default="", repr=False)
    product_key: str = field(default="", repr=False)
    time_zone: str = ""
    organization: str = ""
    owner: str = ""
    locale: str = ""


def checked(wanted: FirstBoot) -> FirstBoot:
    """The settings as they may be kept: each value valid, a password for cloud-init hashed.

    Raises:
        FieldError: at the field of that name.
    """
    if wanted.by not in SetUpBy.values:
        raise FieldError("by", f"There is no such set-up; there are {', '.join(SetUpBy.values)}.")
    if wanted.by == SetUpBy.NONE:
        return FirstBoot()
    for name in ("password", "time_zone", "organization", "owner"):
        if len(getattr(wanted, name)) > 255 or _UNPRINTABLE.search(getattr(wanted, name)) or "\n" in getattr(wanted, name):
            raise FieldError(name, "At most 255 characters, on one line.")
    nics = tuple(_checked_nic(nic) for nic in wanted.nics)
    if wanted.by == SetUpBy.SYSPREP:
        return _checked_windows(replace(wanted, nics=()))
    if wanted.user and not _USER.fullmatch(wanted.user):
        raise FieldError("user", "A user name begins with a small letter and has small letters, digits, - and _: at most 32.")
    if wanted.hostname and not all(_LABEL.fullmatch(label) for label in wanted.hostname.split(".")):
        raise FieldError("hostname", "A host name has letters, digits and hyphens; dots between its parts.")
    if len(wanted.hostname) > 253:
        raise FieldError("hostname", "A host name has at most 253 characters.")
    user_data = _text("user_data", wanted.user_data)
    extra_of(user_data)
    hashed = hash_of(wanted.password) if wanted.password else wanted.password_hash
    return replace(
        wanted,
        password="",  # nosec B106  only its hash is kept
        password_hash=hashed,
        ssh_keys=_checked_keys(wanted.ssh_keys),
        nics=nics,
        script=_text("script", wanted.script),
        user_data=user_data,
        product_key="",
    )


def _checked_windows(wanted: FirstBoot) -> FirstBoot:
    key = wanted.product_key.strip().upper()
    if wanted.hostname and not _COMPUTER.fullmatch(wanted.hostname):
        raise FieldError("hostname", "A computer name in Windows has at most 15 letters, digits and hyphens, and not digits alone.")
    if key and not _PRODUCT_KEY.fullmatch(key):
        raise FieldError("product_key", "A product key looks like XXXXX-XXXXX-XXXXX-XXXXX-XXXXX.")
    if wanted.locale and not _LOCALE.fullmatch(wanted.locale):
        raise FieldError("locale", "A locale looks like en-US.")
    if len(wanted.user) > 20 or re.search(r'["/\\\[\]:;|=,+*?<>@\x00-\x1f]', wanted.user):
        raise FieldError("user", 'A user name in Windows has at most 20 characters, and none of "/\\[]:;|=,+*?<>@.')
    return replace(wanted, product_key=key, password_hash="", ssh_keys=(), script="", user_data="")  # nosec B106


def _checked_nic(nic: NicSetup) -> NicSetup:
    """Raises FieldError."""
    if nic.method not in Method.values:
        raise FieldError("nics", f"{nic.name}: there are {', '.join(Method.values)}.")
    if nic.method != Method.STATIC:
        return NicSetup(nic.name, nic.method)
    try:
        if "/" not in nic.address:
            raise ValueError
        address = ipaddress.ip_interface(nic.address)
    except ValueError:
        raise FieldError("nics", f"{nic.name}: write the address with its prefix, such as 192.0.2.10/24.") from None
    try:
        gateway = ipaddress.ip_address(nic.gateway) if nic.gateway else None
        dns = tuple(str(ipaddress.ip_address(server)) for server in nic.dns)
    except ValueError:
        raise FieldError("nics", f"{nic.name}: gateway and name servers are addresses, such as 192.0.2.1.") from None
    if gateway is not None and gateway not in address.network:
        raise FieldError("nics", f"{nic.name}: the gateway {gateway} is not in {address.network}.")
    return NicSetup(nic.name, nic.method, str(address), str(gateway) if gateway else "", dns[:8])


def _checked_keys(lines: Iterable[str]) -> tuple[str, ...]:
    """Each key once, without its comment: that is text of a stranger."""
    found: dict[str, None] = {}
    for number, line in enumerate([line for line in lines if line.strip()], 1):
        try:
            found[parse_key(line.strip())[0]] = None
        except FieldError as error:
            raise FieldError("ssh_keys", f"Key {number}: {error.text}") from None
    if len(found) > MOST_KEYS:
        raise FieldError("ssh_keys", f"At most {MOST_KEYS} keys.")
    return tuple(found)


def _text(name: str, value: str) -> str:
    text = value.replace("\r\n", "\n").strip("\n")
    if len(text.encode(errors="replace")) > LONGEST_SCRIPT:
        raise FieldError(name, f"At most {LONGEST_SCRIPT >> 10} KiB.")
    if _UNPRINTABLE.search(text):
        raise FieldError(name, "This text has control characters in it.")
    return text


def extra_of(user_data: str) -> dict[str, Any]:
    """The user's own cloud-config as a mapping.

    Raises:
        FieldError: field "user_data": no YAML, or no mapping.
    """
    if user_data.startswith("#!"):
        raise FieldError("user_data", "This is a script: put it into the field for scripts.")
    try:
        found = yaml.safe_load(user_data) if user_data.strip() else {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise FieldError("user_data", f"This is no valid YAML{where}: {getattr(error, 'problem', None) or 'it cannot be read'}.") from None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise FieldError("user_data", "cloud-config is a YAML mapping, such as «packages: [htop]».")
    return found


def hostname_for(name: str, longest: int = 63) -> str:
    """A host name out of a VM's name."""
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:longest].strip("-").lower() or "vm"


def login_for(username: str) -> str:
    """A login name out of an account's."""
    text = unicodedata.normalize("NFKD", username.split("@")[0]).encode("ascii", "ignore").decode().lower()
    text = re.sub(r"[^a-z0-9_-]+", "-", text).strip("-")[:32]
    return text if _USER.fullmatch(text) and text != "root" else "user"


def hash_of(password: str) -> str:
    """As /etc/shadow has it; slow to guess, and still quick to check for a guest without hardware virtualization."""
    from passlib.hash import sha512_crypt  # its megabytes are for who sets a password

    return sha512_crypt.using(rounds=100_000).hash(password)


def sealed(settings: FirstBoot) -> str:
    """The settings as they are stored: one encrypted text."""
    return encrypt(json.dumps(asdict(settings)))


def opened(stored: str) -> FirstBoot:
    """What `sealed` was given."""
    if not stored:
        return FirstBoot()
    data = json.loads(decrypt(stored))
    nics = tuple(NicSetup(**nic | {"dns": tuple(nic["dns"])}) for nic in data.pop("nics"))
    return FirstBoot(**data | {"ssh_keys": tuple(data["ssh_keys"]), "nics": nics})
