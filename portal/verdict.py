"""The shape of the answer to "can this object do this now, and if not, why?", the same for every kind of object."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What a capability function says about one action.

    Args:
        reason: when not ok, one sentence for the person who would have clicked.
    """

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


YES = Verdict(True)


def no(reason: str) -> Verdict:
    return Verdict(False, reason)


@dataclass(frozen=True)
class Action:
    """An action that an object offers; menus show them in the order of declaration.

    Args:
        name: in URLs and in the API, e.g. "start".
        icon: name in the icon sprite.
        permission: what the user must hold on the object; without it the action is not shown at all.
        states: statuses in which the object can do it; empty: any.
        group: actions of one group stand together in a menu.
        danger: asks for confirmation, and is shown apart.
    """

    name: str
    title: str
    icon: str
    permission: str
    states: frozenset[str] = frozenset()
    group: str = ""
    danger: bool = False
