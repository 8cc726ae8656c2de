"""The arithmetic of layers: what each verb makes of a disk's tree of files, and what can be tidied up. Pure.

A tree holds the files of one disk. Each layer builds on its parent; the guest writes into the active one; in a preview the one it wrote
to before is set aside. Snapshots mark layers that must stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Node:
    """A layer: the one it builds on ("" for none), and its file."""

    parent: str
    file: str


@dataclass(frozen=True)
class Tree:
    """Args: marks: snapshot -> the layer that it keeps. aside: "" when there is no preview."""

    nodes: Mapping[str, Node]
    active: str
    aside: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)

    def children(self, layer: str) -> list[str]:
        return [key for key, node in self.nodes.items() if node.parent == layer]

    def line(self, layer: str) -> list[str]:
        """The layer and all below it."""
        found = []
        while layer:
            found.append(layer)
            layer = self.nodes[layer].parent
        return found

    def files(self, layer: str) -> list[str]:
        """What QEMU reads from for this layer, the top one first."""
        return [self.nodes[each].file for each in self.line(layer)]

    def is_kept(self, layer: str) -> bool:
        """Somebody needs just this layer, not only what builds on it."""
        return layer in (self.active, self.aside) or layer in self.marks.values()


@dataclass(frozen=True)
class Drop:
    """A layer that nothing needs: its file can go."""

    layer: str


@dataclass(frozen=True)
class Merge:
    """`upper` is written into the file of `lower`, which it alone builds on. `on_top`: the layer over `upper`, "" for none."""

    lower: str
    upper: str
    on_top: str


Chore = Drop | Merge


def taken(tree: Tree, snapshot: str, layer: str, file: str) -> Tree:
    """The active layer is frozen under the snapshot's mark; writing goes on in a new one."""
    nodes = {**tree.nodes, layer: Node(tree.active, file)}
    return replace(tree, nodes=nodes, active=layer, marks={**tree.marks, snapshot: tree.active})


def previewed(tree: Tree, snapshot: str, layer: str, file: str) -> Tree:
    """The active layer is set aside; writing goes on in a new one over the snapshot's."""
    nodes = {**tree.nodes, layer: Node(tree.marks[snapshot], file)}
    return replace(tree, nodes=nodes, active=layer, aside=tree.active)


def committed(tree: Tree) -> Tree:
    """The preview becomes the state of the VM; what was set aside is needed no longer."""
    return replace(tree, aside="")


def undone(tree: Tree) -> Tree:
    """What was set aside is active again; the preview's layer is needed no longer."""
    return replace(tree, active=tree.aside, aside="")


def unmarked(tree: Tree, snapshot: str) -> Tree:
    """Without the snapshot; its layer stays until it is dropped or merged."""
    return replace(tree, marks={key: layer for key, layer in tree.marks.items() if key != snapshot})


def next_chore(tree: Tree, online: bool) -> Chore | None:
    """What can be tidied up next, None when nothing can.

    Args:
        online: a domain has the active layer open: it merges within its own chain alone, and nobody else writes there.
    """
    for layer in tree.nodes:
        if not tree.is_kept(layer) and not tree.children(layer):
            return Drop(layer)
    for lower in tree.nodes:
        uppers = tree.children(lower)
        if tree.is_kept(lower) or len(uppers) != 1:
            continue
        above = tree.children(uppers[0])
        if len(above) > 1 or (online and uppers[0] not in tree.line(tree.active)):
            continue
        return Merge(lower, uppers[0], above[0] if above else "")
    return None


def dropped(tree: Tree, chore: Drop) -> Tree:
    return replace(tree, nodes={key: node for key, node in tree.nodes.items() if key != chore.layer})


def merged(tree: Tree, chore: Merge) -> Tree:
    """`upper` lives on in the file of `lower`; `lower` is left with the other file, which nothing needs."""
    lower, upper = tree.nodes[chore.lower], tree.nodes[chore.upper]
    nodes = {**tree.nodes, chore.upper: Node(lower.parent, lower.file), chore.lower: Node("", upper.file)}
    return replace(tree, nodes=nodes)
