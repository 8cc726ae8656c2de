"""libvirt's errors as a few exceptions of ours, one for each thing that a caller handles differently."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt


class HypervisorError(Exception):
    """Something that a host answered, or failed to answer.

    Args:
        message: what to show to a person; names the object.
        code: libvirt's VIR_ERR_* number, None when the error is ours.
        domain: libvirt's VIR_FROM_* number (the part of libvirt that complained).
    """

    def __init__(self, message: str, code: int | None = None, domain: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.domain = domain

    @property
    def code_name(self) -> str:
        """libvirt's name of the code ("VIR_ERR_NO_DOMAIN"), or "" when there is none."""
        return CODE_NAMES.get(self.code, "") if self.code is not None else ""


class HostUnreachable(HypervisorError):
    """No connection: it could not be made, was lost, or is being made again."""

    def copy(self) -> "HostUnreachable":
        """Another of the same kind: when several threads raise it, each needs a traceback of its own."""
        return type(self)(self.message, self.code, self.domain)


class CallTimeout(HostUnreachable):
    """The host accepted the call and did not answer within the time limit."""


class CertificateRefused(HostUnreachable):
    """One side does not trust the other's certificate."""


class NotFound(HypervisorError):
    """The domain, volume, pool, network or device is not there."""


class AlreadyExists(HypervisorError):
    """Something with this name or UUID is already there."""


class NotSupported(HypervisorError):
    """This host's driver cannot do it."""


class InvalidState(HypervisorError):
    """The object is not in a state that allows it (already running, not running, ...)."""


class Busy(InvalidState):
    """Someone else uses it, for example the serial console."""


class AgentUnresponsive(HypervisorError):
    """The guest agent is absent or does not answer."""


class NoSpace(HypervisorError):
    """The storage is full."""


class OperationFailed(HypervisorError):
    """Any other refusal of libvirt's."""


CODE_NAMES: dict[int, str] = {
    value: name for name, value in sorted(vars(libvirt).items()) if name.startswith("VIR_ERR_") and isinstance(value, int)
}
# VIR_ERR_ERROR, _WARNING and _NONE are levels that share the numbers of codes.
CODE_NAMES |= {
    libvirt.VIR_ERR_INTERNAL_ERROR: "VIR_ERR_INTERNAL_ERROR",
    libvirt.VIR_ERR_NO_MEMORY: "VIR_ERR_NO_MEMORY",
    libvirt.VIR_ERR_OK: "VIR_ERR_OK",
}

_BY_CODE: dict[int, type[HypervisorError]] = {
    **dict.fromkeys(
        [
            libvirt.VIR_ERR_NO_DOMAIN,
            libvirt.VIR_ERR_NO_NETWORK,
            libvirt.VIR_ERR_NO_STORAGE_POOL,
            libvirt.VIR_ERR_NO_STORAGE_VOL,
            libvirt.VIR_ERR_NO_NODE_DEVICE,
            libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT,
            libvirt.VIR_ERR_NO_DOMAIN_METADATA,
            libvirt.VIR_ERR_NO_DOMAIN_BACKUP,
            libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT,
            libvirt.VIR_ERR_NO_DEVICE,
            libvirt.VIR_ERR_NO_INTERFACE,
            libvirt.VIR_ERR_NO_SECRET,
            libvirt.VIR_ERR_NO_NWFILTER,
            libvirt.VIR_ERR_DEVICE_MISSING,
        ],
        NotFound,
    ),
    **dict.fromkeys([libvirt.VIR_ERR_DOM_EXIST, libvirt.VIR_ERR_NETWORK_EXIST, libvirt.VIR_ERR_STORAGE_VOL_EXIST], AlreadyExists),
    **dict.fromkeys(
        [
            libvirt.VIR_ERR_NO_SUPPORT,
            libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
            libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
            libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        ],
        NotSupported,
    ),
    libvirt.VIR_ERR_OPERATION_INVALID: InvalidState,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE: AgentUnresponsive,
    libvirt.VIR_ERR_AGENT_UNSYNCED: AgentUnresponsive,
    libvirt.VIR_ERR_NO_CONNECT: HostUnreachable,
    libvirt.VIR_ERR_AUTH_FAILED: HostUnreachable,
    libvirt.VIR_ERR_AUTH_CANCELLED: HostUnreachable,
    libvirt.VIR_ERR_NO_CLIENT: HostUnreachable,
}

# libvirt has no code of its own for these, so the words of its message decide (seen with 9.0).
_BY_WORDS: tuple[tuple[re.Pattern[str], type[HypervisorError]], ...] = (
    (
        re.compile(
            r"TLS confirmation|TLS handshake|[Cc]ertificate.*(failed|not trusted|issuer|expired|refused|verif)|verify peer's certificate"
        ),
        CertificateRefused,
    ),
    (re.compile(r"^unsupported flags|unsupported (configuration|argument)"), NotSupported),
    (re.compile(r"No space left on device|Disk quota exceeded"), NoSpace),
    (
        re.compile(
            r"client socket is closed|Cannot recv data|Cannot write data|End of file while reading data|keepalive|Unable to (connect|resolve)"
        ),
        HostUnreachable,
    ),
    (re.compile(r"Active console session exists|Is another process using the image"), Busy),
    (re.compile(r"[Gg]uest agent is not (connected|responding|available)|QEMU guest agent is not"), AgentUnresponsive),
    (re.compile(r"(already|not) (active|running)"), InvalidState),
    (re.compile(r"already (exists?|defined)|already in use|is already"), AlreadyExists),
)


def translate(error: libvirt.libvirtError) -> HypervisorError:
    """Turn libvirt's exception into ours, keeping code, domain and message."""
    code, domain = error.get_error_code(), error.get_error_domain()
    message = (error.get_error_message() or str(error)).strip()
    kind = _BY_CODE.get(code) if code is not None else None
    if kind is None or kind in (HostUnreachable, AgentUnresponsive, NotSupported):
        kind = next((by_words for pattern, by_words in _BY_WORDS if pattern.search(message)), None) or kind or OperationFailed
    return kind(message, code, domain)


@contextmanager
def translated() -> Iterator[None]:
    """Let only our exceptions out of the block."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error) from None
