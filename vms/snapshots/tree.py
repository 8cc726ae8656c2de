"""The tree of a VM's snapshots in the order in which a page shows it: one row each, branches set in."""

from dataclasses import dataclass, field
from typing import Any

from portal.pages.actions import Entry, entries
from portal.verdict import Verdict
from vms.snapshots import can
from vms.snapshots.models import LayerState, Snapshot

DEEPEST = 6  # as many steps to the right as there are styles for; a phone shows fewer


@dataclass
class Row:
    """A snapshot, or the place where the VM stands ("now"), or what a preview set aside ("aside").

    Args:
        depth: how far it is set in: branches are, the line that leads to the present state is not.
        bytes: what its layers take on the storage, and its memory.
    """

    kind: str
    depth: int
    snapshot: Snapshot | None = None
    bytes: int = 0
    entries: list[Entry] = field(default_factory=list)


@dataclass
class Tree:
    """Args: hidden, hidden_bytes: layers of deleted snapshots that others still build on."""

    rows: list[Row]
    hidden: int
    hidden_bytes: int


def build(facts: can.Facts, permissions: frozenset[str], urls: Any) -> Tree:
    """The rows with what can be done with each.

    Args:
        urls: called with (action's name, snapshot), gives the URL.
    """
    layers = [layer for each in facts.disks if each.disk is not None for layer in each.disk.layers.all()]
    marked = {mark.layer_id for snapshot in facts.snapshots for mark in snapshot.disks.all()}
    hidden = [layer for layer in layers if layer.state == LayerState.FROZEN and layer.pk not in marked and layer.path]

    def space(state: str) -> int:
        return sum(layer.allocated_bytes for layer in layers if layer.state == state)

    position = facts.position
    children: dict[Any, list[Snapshot]] = {}
    for snapshot in facts.snapshots:
        children.setdefault(snapshot.parent_id, []).append(snapshot)
    line = _line(position.current, {snapshot.pk: snapshot for snapshot in facts.snapshots})
    rows: list[Row] = []

    def walk(parent: Any, depth: int) -> None:
        """Branches first, then the line that leads on, so that the present state ends the list."""
        if parent is not None and position.preview_id is not None and parent == position.back_id:
            rows.append(Row("aside", min(depth + 1, DEEPEST), bytes=space(LayerState.ASIDE)))
        found = children.get(parent, [])
        here = parent is not None and position.current_id == parent
        for index, snapshot in enumerate(sorted(found, key=lambda each: each.pk in line)):
            goes_on = index == len(found) - 1 and not here
            below = depth if goes_on else min(depth + 1, DEEPEST)
            rows.append(Row("snapshot", below, snapshot, _bytes(snapshot), _entries(facts, snapshot, permissions, urls)))
            walk(snapshot.pk, below)
        if here:
            rows.append(Row("now", depth, bytes=space(LayerState.ACTIVE)))

    walk(None, 0)
    if position.current_id is None and rows:
        rows.append(Row("now", 0, bytes=space(LayerState.ACTIVE)))
    return Tree(rows, len(hidden), sum(layer.allocated_bytes for layer in hidden))


def _line(snapshot: Snapshot | None, known: dict[Any, Snapshot]) -> set[Any]:
    """The ids of a snapshot and of all before it."""
    found: set[Any] = set()
    key = snapshot.pk if snapshot is not None else None
    while key in known and key not in found:
        found.add(key)
        key = known[key].parent_id
    return found


def _bytes(snapshot: Snapshot) -> int:
    return snapshot.memory_bytes + sum(mark.layer.allocated_bytes for mark in snapshot.disks.all())


def _entries(facts: can.Facts, snapshot: Snapshot, permissions: frozenset[str], urls: Any) -> list[Entry]:
    verdicts: dict[str, Verdict | None] = {
        name: can.check(name, facts, snapshot) if action.permission in permissions else None for name, action in can.ACTIONS.items()
    }
    opens = {name: urls(name, snapshot) for name in can.ACTIONS if name != "delete"}
    memory = " and its saved memory" if snapshot.with_memory else ""
    confirm = {
        "delete": f"{facts.vm.name} can no longer return to {snapshot.name}; this point{memory} is deleted. The present state and all other "
        "snapshots stay: layers are merged, while the VM runs, too."
    }
    return entries(can.ACTIONS, verdicts, lambda name: urls(name, snapshot), opens=opens, quick=("preview", "revert"), confirm=confirm)
