"""Whatever is done to snapshots in whatever order: every state that somebody can still reach reads exactly what it held."""

from hypothesis import given
from hypothesis import strategies as st

from vms.snapshots import chain
from vms.snapshots.chain import Drop, Merge, Node, Tree


class Model:
    """A disk whose files are dicts (block -> value) and whose guest writes; beside it, what each state must read as."""

    def __init__(self):
        self.tree = Tree({"base": Node("", "base.raw")}, "base")
        self.files = {"base.raw": {}}
        self.backing = {"base.raw": ""}
        self.states = {}  # snapshot -> what it held
        self.now, self.before, self.preview = {}, None, None
        self.count = 0

    def read(self, layer):
        found = {}
        for file in reversed(self.tree.files(layer)):
            found |= self.files[file]
        return found

    def read_from_host(self, layer):
        """By the backing names in the files' own headers, as QEMU does."""
        file, stack = self.tree.nodes[layer].file, []
        while file:
            stack.append(file)
            file = self.backing[file]
        found = {}
        for each in reversed(stack):
            found |= self.files[each]
        return found

    def new(self, over):
        self.count += 1
        file = f"{self.count}.qcow2"
        self.files[file], self.backing[file] = {}, self.tree.nodes[over].file
        return f"layer{self.count}", file

    def write(self, block):
        self.count += 1
        self.files[self.tree.nodes[self.tree.active].file][block] = self.count
        self.now = {**self.now, block: self.count}

    def take(self):
        if self.preview is None:
            layer, file = self.new(self.tree.active)
            name = f"snapshot{self.count}"
            self.tree = chain.taken(self.tree, name, layer, file)
            self.states[name] = self.now

    def start_preview(self, index):
        if self.preview is None and self.states:
            name = sorted(self.states)[index % len(self.states)]
            layer, file = self.new(self.tree.marks[name])
            self.tree = chain.previewed(self.tree, name, layer, file)
            self.before, self.now, self.preview = self.now, self.states[name], name

    def end_preview(self, keep):
        if self.preview is not None:
            self.tree = chain.committed(self.tree) if keep else chain.undone(self.tree)
            self.now = self.now if keep else self.before
            self.before = self.preview = None

    def delete(self, index):
        if self.preview is None and self.states:
            name = sorted(self.states)[index % len(self.states)]
            self.tree = chain.unmarked(self.tree, name)
            del self.states[name]

    def tidy(self, online, most):
        for _ in range(most):
            chore = chain.next_chore(self.tree, online)
            if chore is None:
                return
            if isinstance(chore, Drop):
                file = self.tree.nodes[chore.layer].file
                assert file not in self.backing.values() or all(self.backing[node.file] != file for node in self.tree.nodes.values()), (
                    "a file that another reads from is deleted"
                )
                del self.files[file], self.backing[file]
                self.tree = chain.dropped(self.tree, chore)
            else:
                self.merge(chore, online)

    def merge(self, chore, online):
        assert isinstance(chore, Merge)
        if online:
            assert chore.upper in self.tree.line(self.tree.active)
        lower, upper = self.tree.nodes[chore.lower].file, self.tree.nodes[chore.upper].file
        self.files[lower] |= self.files[upper]
        if chore.on_top:
            self.backing[self.tree.nodes[chore.on_top].file] = lower
        self.tree = chain.merged(self.tree, chore)

    def check(self):
        tree = self.tree
        assert set(self.files) == {node.file for node in tree.nodes.values()}, "a file without a layer, or a layer without one"
        assert all(not node.parent or node.parent in tree.nodes for node in tree.nodes.values())
        assert tree.active in tree.nodes and bool(tree.aside) == (self.preview is not None)
        assert tree.children(tree.active) == [], "the guest would write under another layer"
        assert set(tree.marks) == set(self.states)
        for layer, expected in [(tree.active, self.now), *[(tree.marks[name], held) for name, held in self.states.items()]]:
            assert self.read(layer) == self.read_from_host(layer) == expected
        if self.preview is not None:
            assert self.read(tree.aside) == self.read_from_host(tree.aside) == self.before


number = st.integers(0, 5)
actions = st.one_of(
    st.tuples(st.just("write"), number),
    st.tuples(st.just("take")),
    st.tuples(st.just("start_preview"), number),
    st.tuples(st.just("end_preview"), st.booleans()),
    st.tuples(st.just("delete"), number),
    st.tuples(st.just("tidy"), st.booleans(), number),
)


@given(st.lists(actions, max_size=60))
def test_no_sequence_of_verbs_changes_what_a_reachable_state_reads(sequence):
    model = Model()
    for name, *arguments in sequence:
        getattr(model, name)(*arguments)
        model.check()
    model.end_preview(keep=True)
    for name in list(model.states):
        model.tree = chain.unmarked(model.tree, name)
        del model.states[name]
    model.tidy(online=False, most=200)
    model.check()
    assert len(model.tree.nodes) == 1, "without snapshots a disk is one file again"


def test_a_layer_that_two_build_on_stays_until_one_is_left():
    tree = chain.taken(Tree({"base": Node("", "a")}, "base"), "s1", "one", "b")
    tree = chain.taken(tree, "s2", "two", "c")
    tree = chain.committed(chain.previewed(tree, "s1", "three", "d"))
    while chore := chain.next_chore(tree, online=False):
        tree = chain.dropped(tree, chore)
    tree = chain.unmarked(tree, "s1")
    assert chain.next_chore(tree, online=False) is None, "the branch of s2 and the active one both read from it"
    tree = chain.unmarked(tree, "s2")
    assert chain.next_chore(tree, online=True) == Drop("one")


def test_a_running_machine_merges_in_its_own_chain_alone():
    tree = Tree(
        {"base": Node("", "a"), "one": Node("base", "b"), "two": Node("one", "c"), "three": Node("base", "d")}, "three", "", {"s": "two"}
    )
    assert chain.next_chore(tree, online=True) is None
    assert chain.next_chore(tree, online=False) == Merge("one", "two", "")
