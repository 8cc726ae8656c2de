"""The form of the records: a line that says how long they are and what they must hash to, then JSON that a person can read.

What lies on a storage was written by whoever had it before: it is checked like any other input.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from portal.names import plain

LARGEST = 64 << 20  # bytes of a manifest that is read
MOST_VMS = 20_000
_HEAD = re.compile(rb"VIREO-VMS 1 ([0-9]{1,9}) ([0-9a-f]{64})\n")

Text = Annotated[str, AfterValidator(plain)]
Target = Annotated[str, Field(pattern=r"^(vd|sd|hd)[a-z]{1,2}$")]


class Unreadable(ValueError):
    """The bytes are no records, or not whole."""


class DiskRecord(BaseModel):
    """A disk in its slot. `volume`: its file or device within the domain `domain`."""

    id: UUID
    name: Text = Field(max_length=255)
    domain: UUID
    volume: str = Field(min_length=1, max_length=255)
    target: Target
    bus: Literal["virtio", "scsi", "sata"]
    read_only: bool = False
    shareable: bool = False
    io_iops: int = Field(0, ge=0, lt=1 << 62)
    io_bytes: int = Field(0, ge=0, lt=1 << 62)


class NicRecord(BaseModel):
    """`network`: its name within the cluster, empty for none."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")
    mac: str = Field(pattern=r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")
    network: Text = Field("", max_length=255)
    model: Literal["virtio", "e1000", "e1000e", "rtl8139"] = "virtio"
    linked: bool = True


class VmRecord(BaseModel):
    """A VM as it is written down: nothing secret, and nothing that lies on a host. `kernel`: it boots one from its host's files."""

    id: UUID
    name: Text = Field(min_length=1, max_length=255)
    description: str = Field("", max_length=4000)
    cluster: Text = Field("", max_length=255)
    memory_mib: int = Field(ge=16, lt=16 << 20)
    vcpus: int = Field(ge=1, le=512)
    firmware: Literal["bios", "efi", "efi-secure"] = "bios"
    os: Text = Field("", max_length=64)
    tags: list[Annotated[Text, Field(max_length=64)]] = Field(default_factory=list, max_length=64)
    delete_protected: bool = False
    highly_available: bool = False
    restart_by_lease: bool = False
    priority: Literal[10, 50, 90] = 50
    kernel: bool = False
    drives: list[Target] = Field(default_factory=list, max_length=8, description="of its CD drives, which are empty")
    disks: list[DiskRecord] = Field(min_length=1, max_length=64)
    nics: list[NicRecord] = Field(default_factory=list, max_length=64)


class Manifest(BaseModel):
    """All of a domain's. Each VM is checked by itself, so that an odd one costs no other."""

    vms: list[dict[str, Any]] = Field(max_length=MOST_VMS)


def encode(vms: Iterable[VmRecord]) -> bytes:
    text = Manifest(vms=[vm.model_dump(mode="json") for vm in vms]).model_dump_json(indent=1).encode()
    return b"VIREO-VMS 1 %d %s\n" % (len(text), digest_of(text).encode()) + text


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes) -> tuple[list[VmRecord], list[str]]:
    """The VMs, and what is wrong with each that cannot be taken for one.

    Raises:
        Unreadable: none of it can be trusted.
    """
    head = _HEAD.match(data)
    if head is None:
        raise Unreadable("they do not begin as records do")
    text = data[head.end() : head.end() + int(head[1])]
    if len(text) != int(head[1]) or digest_of(text) != head[2].decode():
        raise Unreadable("they are not whole")
    try:
        rows = Manifest.model_validate_json(text).vms
    except ValidationError as error:
        raise Unreadable(_first_of(error)) from None
    vms, odd = [], []
    for number, row in enumerate(rows, 1):
        try:
            vms.append(VmRecord.model_validate(row))
        except ValidationError as error:
            odd.append(f"VM {number}: {_first_of(error)}")
    return vms, odd


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
