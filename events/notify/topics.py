"""What one may be told about. A topic says which events it is, and for whom beyond who may see them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from events.models import Event

_TROUBLE = ("warning", "error")


@dataclass(frozen=True)
class Topic:
    """Args: matches: whether an event belongs to it. concerns: whether an event concerns a user who chose the topic."""

    key: str
    title: str
    matches: Callable[["Event"], bool]
    concerns: Callable[["Event", Any], bool] = lambda event, user: True


def _trouble_with(*object_types: str) -> Callable[["Event"], bool]:
    return lambda event: event.severity in _TROUBLE and event.object_type in object_types


def _kinds(*starts: str) -> Callable[["Event"], bool]:
    return lambda event: event.kind.startswith(starts)


TOPICS: tuple[Topic, ...] = (
    Topic("job", "A job of mine failed", lambda event: event.kind == "job.failed", lambda event, user: event.user_id == user.pk),
    Topic("vm", "Trouble with a VM", lambda event: _trouble_with("vm")(event) and not event.kind.startswith("vm.expire")),
    Topic("expiry", "The time of a machine ends", _kinds("vm.expire")),
    Topic("host", "Trouble with a host", _trouble_with("host", "cluster")),
    Topic("storage", "Trouble with storage", _trouble_with("storage_domain", "disk")),
    Topic("quota", "A quota is nearly used or exceeded", _trouble_with("quota")),
    Topic(
        "account",
        "My account: tokens, keys, factors, password",
        _kinds("token.", "second_factor.", "user.password_set", "user.key_", "user.look_"),
        lambda event, user: user.pk in (event.object_id, event.user_id),
    ),
    Topic("signin", "Every sign-in to my account", _kinds("session.opened"), lambda event, user: event.user_id == user.pk),
    Topic("grant", "What I may do changed", _kinds("grant.", "group.joined", "group.left")),
    Topic("everything", "Every warning and error that I may see", lambda event: event.severity in _TROUBLE),
)
BY_KEY = {topic.key: topic for topic in TOPICS}


def topics_of(event: "Event") -> list[Topic]:
    """Those that the event belongs to."""
    return [topic for topic in TOPICS if topic.matches(event)]
