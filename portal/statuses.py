"""How each status looks: a word, an icon and a colour, the same on every page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Args: tone: good, busy, move, warn, bad, or empty for what is at rest."""

    icon: str
    tone: str = ""
    spins: bool = False


_REST = Look("circle")
_BUSY = Look("loader-2", "busy", spins=True)
_MOVE = Look("loader-2", "move", spins=True)
_BAD = Look("circle-x", "bad")

LOOKS: dict[str, Look] = {
    "up": Look("circle-check", "good"),
    "active": Look("circle-check", "good"),
    "ok": Look("circle-check", "good"),
    "succeeded": Look("circle-check", "good"),
    "done": Look("circle-check", "good"),
    "down": Look("player-stop"),
    "on": Look("power", "good"),
    "off": Look("plug-off"),
    "maintenance": Look("tool", "warn"),
    "paused": Look("player-pause", "warn"),
    "suspended": Look("moon", "warn"),
    "queued": Look("hourglass"),
    "pending": Look("hourglass"),
    "cancelled": Look("x"),
    "undone": Look("arrow-back-up"),
    "unknown": Look("question-mark", "warn"),
    "non_operational": Look("alert-triangle", "warn"),
    "inactive": Look("alert-triangle", "warn"),
    "warning": Look("alert-triangle", "warn"),
    "low": Look("alert-triangle", "warn"),
    "critical": Look("alert-circle", "bad"),
    "unattached": Look("plug-off"),
    "info": Look("info-circle"),
    "non_responsive": Look("cloud-off", "bad"),
    "not_responding": Look("cloud-off", "bad"),
    "failed": _BAD,
    "undo_failed": _BAD,
    "illegal": _BAD,
    "error": Look("alert-circle", "bad"),
    "refused": Look("lock", "warn"),
    "migrating_from": _MOVE,
    "migrating_to": _MOVE,
}
for _status in (
    "powering_up", "powering_down", "reboot_in_progress", "wait_for_launch", "saving_state", "restoring_state", "image_locked", "installing",
    "preparing_for_maintenance", "fencing", "activating", "locked", "running",
):  # fmt: skip
    LOOKS[_status] = _BUSY


def look_of(status: str) -> Look:
    return LOOKS.get(status, _REST)
