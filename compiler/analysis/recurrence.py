"""What kind of recurrence each state follows, and with it how a whole sequence can be computed at once.

    elementwise   x' = a*x + b                              an associative scan
    coupled       x_i' = Σ_j a_ij*x_j + b_i                  a scan of small matrices: complex numbers as pairs
    max-plus      x' = max(x + a, b)                        a scan: the stabilisers of exponential gates
    low rank      M' = a*M + Σ (M @ p + u) yᵀ               chunks of tokens, in WY form; a may differ by columns
    frozen        P' = … every C                            constant inside a chunk
    sequential    anything else                             a loop, one token after the other

Low-rank states that mix (momentum and the memory that it moves) are one `Group`, whose transition is
`[M S]' = [M S] @ (a matrix of scalars ⊗ I + low rank)`; one that is written from the left (Oja's rule) is solved for
its transpose. Coefficients must not depend on the states; what is not recognised is sequential, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dotopt.compiler.analysis.affine import Affine, NotAffine, added, affine
from dotopt.compiler.analysis.unroll import over_range, unrolled
from dotopt.compiler.ir import TIME, Node, Program, State, leaf, node, substitute
from dotopt.compiler.ops.types import transpose

MOST = 4  # states that are scanned together


@dataclass(frozen=True, slots=True)
class Term:
    """`(Σ_j M_j @ p_j + u) y_iᵀ`, added to every memory i of a group; with a window, one for each of its tokens."""

    p: tuple[Node | None, ...]
    u: Node | None
    y: tuple[Node | None, ...]
    window: Node | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A product of a memory with a vector: `M @ q`, or `Mᵀ @ q`; after the token was written, or before."""

    state: str
    q: Node
    after: bool
    transposed: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Memories that are solved together: `M_i' = Σ_j mix[i][j]*M_j + Σ terms`, with None for zero.

    An order in which each memory mixes in only earlier ones. If `transposed`, all of it is about the transposes.
    """

    states: tuple[State, ...]
    mix: tuple[tuple[Node | None, ...], ...]
    terms: tuple[Term, ...]
    transposed: bool

    def index(self, name: str) -> int:
        return next(i for i, state in enumerate(self.states) if state.name == name)

    @property
    def name(self) -> str:
        return "_".join(state.name for state in self.states)

    @property
    def decay(self) -> Node | None:
        """The decay of each column, of a single memory whose columns decay each by itself."""
        scale = self.mix[0][0]
        return scale if scale is not None and scale.type.axes else None

    @property
    def parts(self) -> Iterator[Node]:
        """Every coefficient."""
        rows = [x for row in self.mix for x in row] + [x for term in self.terms for x in (*term.p, term.u, *term.y)]
        yield from (x for x in rows if x is not None)


@dataclass(frozen=True, slots=True)
class Solved:
    """How one state is computed over a sequence: `kind` as in the module docstring, and why."""

    state: State
    kind: str
    why: str
    form: Affine | None = None
    group: Group | None = None
    period: Node | None = None
    partners: tuple[State, ...] = ()  # of a coupled state: all that are scanned with it, itself included
    peak: tuple[Node | None, Node] | None = None  # of a max-plus state: a and b

    @property
    def scanned(self) -> bool:
        """Whether the values at all tokens are there, entry by entry."""
        return self.kind in ("elementwise", "coupled", "max-plus")

    @property
    def parts(self) -> Iterator[Node]:
        """The coefficients of a scan."""
        if self.form is not None:
            yield from (x for x in (*self.form.scale.values(), added(self.form)) if x is not None)
        if self.peak is not None:
            yield from (x for x in self.peak if x is not None)


@dataclass(frozen=True)
class Recurrences:
    """All states of a program, and the reads of its memories with the leaves that stand for them.

    `table` maps what is read to these leaves, and the next value of a memory to the leaf for what it is at the end.
    In coefficients, the next value of an elementwise state is the leaf `sequence` of its name.
    """

    program: Program  # what they are the states of: the rule, perhaps with loops written out
    solved: tuple[Solved, ...]
    reads: Mapping[Node, Read] = field(default_factory=dict)
    table: Mapping[Node, Node] = field(default_factory=dict)

    @property
    def parallel(self) -> bool:
        return all(x.kind != "sequential" for x in self.solved)

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(dict.fromkeys(x.group for x in self.solved if x.group is not None))


def classify(program: Program) -> tuple[Solved, ...]:
    """The states, in an order in which each needs only earlier ones, with their kinds."""
    return recurrences(program).solved


def recurrences(program: Program) -> Recurrences:
    """The states with their kinds, and how memories are read; loops of few passes are written out where that helps."""
    found = _Solver(program).run()
    loops = {here for root in program.roots for here in root.walk() if here.op == "loop"}
    if not loops or (found.parallel and not any(map(over_range, loops))):
        return found
    flat = _Solver(unrolled(program)).run()
    return flat if flat.parallel or any(map(over_range, loops)) else found


@dataclass(eq=False)
class _Solver:
    program: Program
    solved: dict[str, Solved] = field(default_factory=dict)
    leaves: dict[str, Node] = field(default_factory=dict)
    sequences: dict[Node, Node] = field(default_factory=dict)  # next values that are there already, for all tokens
    whys: dict[str, str] = field(default_factory=dict)  # why a state is not solved yet
    materialised: set[str] = field(default_factory=set)  # states that are not memories, or are read as a whole
    memories: list[State] = field(default_factory=list)  # matrices
    links: dict[str, set[str]] = field(default_factory=dict)  # memories that mix

    def run(self) -> Recurrences:
        self.leaves = {x.name: leaf("state", x.name, x.type) for x in self.program.states}
        for state in self.program.states:
            period = _period(state, self.leaves[state.name])
            if period is not None:
                self.solved[state.name] = Solved(state, "frozen", f"constant for {period!r} tokens", period=period)
            elif state.next is None:
                self.solved[state.name] = Solved(state, "frozen", "never changes")
        memories = [x for x in self.program.states if len(x.type.axes) == 2 and x.name not in self.solved]
        self.memories = memories
        self.materialised = {x.name for x in self.program.states if x not in memories or self.read_whole(x)}
        for x in memories:
            mixed = {y.name for y in memories if x is not y and y.next and self.whole(x, *y.next.children)}
            for name in mixed:
                self.links.setdefault(x.name, set()).add(name)
                self.links.setdefault(name, set()).add(x.name)
        waiting = [x for x in self.program.states if x.name not in self.solved]
        while True:
            found = next((f for state in waiting if (f := self.solve(state, waiting))), None)
            if found is None:
                break
            for new in found:
                self.solved[new.state.name] = new
                if new.scanned and new.state.next is not None:
                    self.sequences[new.state.next] = leaf("sequence", new.state.name, new.state.type)
            waiting = [x for x in waiting if x.name not in self.solved]
        for state in waiting:
            why = self.whys.get(state.name) or self.tangle(state)
            self.solved[state.name] = Solved(state, "sequential", why)
        for name, solved in list(self.solved.items()):
            if solved.state.kind == "first" and (why := _not_at_one_token(solved.state)):
                self.solved[name] = Solved(solved.state, "sequential", why)
        return self.with_reads()

    def root(self, state: State) -> Node:
        assert state.next is not None
        return substitute(state.next, {n: later for n, later in self.sequences.items() if n is not state.next})

    def others(self, state: State) -> set[str]:
        own = self.leaves[state.name]
        found = {x.name for x in self.root(state).walk() if x.role == "state" and x is not own}
        return found & set(self.leaves)

    def tangle(self, state: State) -> str:
        needed = sorted(self.others(state) - {n for n, x in self.solved.items() if x.kind != "sequential"})
        return f"`{state.name}'` needs {', '.join(f'`{n}`' for n in needed)}, known only token by token"

    def solve(self, state: State, waiting: list[State]) -> list[Solved] | None:
        """The state, or the group that it belongs to; None if it can not be solved yet."""
        if state.name not in self.materialised:
            group = self.group(state, waiting)
            if group is not None:
                why = _describe(group)
                return [Solved(x, "low rank", why, group=group) for x in group.states]
        if not self.others(state) <= set(self.solved):
            return self.coupled(state, waiting)
        try:
            form = affine(self.root(state), self.leaves[state.name])
        except NotAffine as error:
            peak = _peak(self.root(state), self.leaves[state.name])
            if peak is not None:
                why = f"`{state.name}'` is the larger of `{state.name}` plus a number, and another number"
                return [Solved(state, "max-plus", why, peak=peak)]
            self.whys[state.name] = error.why
            return None
        if not form.elementwise:
            why = self.whys.get(state.name, "")
            whole = f"`{state.name}` is read as a whole, and its next value mixes its columns"
            self.whys[state.name] = why or whole
            return None
        if any(pair.window is not None for pair in form.pairs):
            self.whys[state.name] = "a sum over a window is written into a state that is read as a whole"
            return None
        return [Solved(state, "elementwise", f"`{state.name}'` is affine in `{state.name}`, entry by entry", form)]

    def closed(self, seed: State, waiting: list[State], links: Mapping[str, set[str]]) -> list[State] | None:
        """The state with all that it can not do without; None if one of these is not waiting."""
        byname = {x.name: x for x in waiting}
        names, new = [seed.name], [seed.name]
        while new:
            name = new.pop()
            needed = (self.others(byname[name]) - set(self.solved) | links.get(name, set())) - set(names)
            if not all(n in byname for n in needed):
                return None
            names += sorted(needed)
            new += sorted(needed)
        return [x for x in waiting if x.name in names]

    def coupled(self, seed: State, waiting: list[State]) -> list[Solved] | None:
        """Numbers and vectors that mix entry by entry; of matrices, maps of pairs would be too large to be faster."""
        states = self.closed(seed, waiting, {})
        if states is None or len({x.type.axes for x in states}) > 1 or len(seed.type.axes) > 1 or len(states) > MOST:
            return None
        own = [self.leaves[x.name] for x in states]
        try:
            forms = [affine(self.root(x), *own) for x in states]
        except NotAffine as error:
            self.whys.setdefault(seed.name, error.why)
            return None
        if not all(form.elementwise and not form.pairs for form in forms):
            return None
        names = " and ".join(f"`{x.name}`" for x in states)
        why = f"{names} are affine in each other, entry by entry"
        return [
            Solved(x, "coupled", why, form, partners=tuple(states)) for x, form in zip(states, forms, strict=True)
        ]

    def group(self, seed: State, waiting: list[State]) -> Group | None:
        """The low-rank form of the state and of those that it can not do without."""
        states = self.closed(seed, [x for x in waiting if x.name not in self.materialised], self.links)
        if states is None:
            return None
        reason = ""
        for flipped in (False, True):
            try:
                return self.low_rank(states, flipped)
            except NotAffine as error:
                reason = reason or error.why
        self.whys[seed.name] = reason
        if len(states) > 1:
            self.materialised |= {x.name for x in states if self.links.get(x.name)}
        return None

    def low_rank(self, states: list[State], flipped: bool) -> Group:
        own = {self.leaves[x.name]: _flipped(self.leaves[x.name]) if flipped else self.leaves[x.name] for x in states}
        nexts = {x.next for x in self.program.states if x.next is not None and x not in states}
        turn = _Turned(own if flipped else {}, set(own), nexts)
        forms = {x.name: affine(turn(self.root(x), flipped), *own.values()) for x in states}
        for name, form in forms.items():
            if form.rest is not None:
                raise NotAffine(f"a full-rank term is added to `{name}` at every token")
            for scale in form.scale.values():
                if scale.type.axes and (len(states) > 1 or not _by_columns(scale, *own.values())):
                    raise NotAffine(f"`{name}` decays entry by entry, together with a term of low rank")
                if scale.type.axes and any(pair.window is not None for pair in form.pairs):
                    raise NotAffine(f"`{name}` decays column by column, together with a sum over a window")
        if all(form.elementwise and not form.pairs for form in forms.values()):
            raise NotAffine("nothing of low rank is written")
        order = _ordered(states, forms)
        mix = tuple(tuple(forms[x.name].scale.get(y.name) for y in order) for x in order)
        return Group(tuple(order), mix, _terms(order, forms), flipped)

    # ---- how memories are read ---------------------------------------------------------------------------------------

    def read_whole(self, state: State) -> bool:
        """Whether the state is read otherwise than by products with vectors, mixing, and at the ends of chunks."""
        for root in self.program.outputs.values():
            if self.whole(state, root):
                return True
        for x in self.program.states:
            if x in self.memories or x.next is None:
                continue
            held = x.name in self.solved and self.solved[x.name].period is not None
            root = x.next.args[1] if held else x.next
            if not (held and root is state.next) and self.whole(state, root):
                return True
        return False

    def whole(self, state: State, *roots: Node) -> bool:
        """Whether these values need all of the memory, not only products with vectors."""
        before = {self.leaves[x.name]: x.name for x in self.memories}
        after = {x.next: x.name for x in self.memories if x.next is not None}
        sought = (self.leaves[state.name], state.next)
        stack, seen = list(roots), set[Node]()
        while stack:
            here = stack.pop()
            if here in sought:
                return True
            if here in seen or here in after:
                continue
            seen.add(here)
            found = _read_of(here, before, after)
            stack.extend((found.q,) if found is not None else here.children)
        return False

    def with_reads(self) -> Recurrences:
        before: dict[Node, str] = {}
        after: dict[Node, str] = {}
        table: dict[Node, Node] = {}
        for x in self.solved.values():
            if x.group is not None and x.state.next is not None:
                before[self.leaves[x.state.name]] = x.state.name
                after[x.state.next] = x.state.name
                table[x.state.next] = leaf("sequence", f"{x.state.name} at the end", x.state.type)
        reads: dict[Node, Read] = {}
        ends = [x.state.next.args[1] for x in self.solved.values() if x.period is not None and x.state.next is not None]
        groups = [part for g in dict.fromkeys(x.group for x in self.solved.values() if x.group) for part in g.parts]
        others = [x.state.next for x in self.solved.values() if x.group is None and x.period is None and x.state.next]
        stack, seen = [*self.program.outputs.values(), *ends, *groups, *others], set[Node]()
        while stack:
            here = stack.pop()
            if here in seen or here in after:
                continue
            seen.add(here)
            found = _read_of(here, before, after)
            if found is not None:
                stands = leaf("sequence", f"{found.state} read {len(reads) + 1}", here.type)
                reads[stands], table[here] = found, stands
                stack.append(found.q)
                continue
            stack.extend(here.children)
        order = {name: i for i, name in enumerate(self.solved)}
        solved = tuple(sorted(self.solved.values(), key=lambda x: order[x.state.name]))
        return Recurrences(self.program, solved, reads, table)


def _peak(root: Node, own: Node) -> tuple[Node | None, Node] | None:
    """a and b of `max(x + a, b)`, with None for 0."""
    if root.op != "max":
        return None
    for moving, other in (root.args, root.args[::-1]):
        if own in other.walk():
            continue
        inner = _peak(moving, own)
        if inner is not None:
            return inner[0], node("max", inner[1], other)
        try:
            form = affine(moving, own)
        except NotAffine:
            return None
        if form.elementwise and not form.pairs and {n: x.value for n, x in form.scale.items()} == {own.name: 1}:
            return form.rest, other
    return None


def _not_at_one_token(state: State) -> str:
    """Why the start of a state cannot be computed from the inputs of the first token alone; empty if it can."""
    for here in state.start.walk():
        if here.op in ("window", "attention", "fires") or here is TIME:
            return f"`{state.name}` begins with what reads more than one token: `{here!r}`"
    return ""


def _read_of(here: Node, before: Mapping[Node, str], after: Mapping[Node, str]) -> Read | None:
    """`here` as a product of a memory with a vector."""
    if here.op != "matmul" or len(here.type.axes) != 1:
        return None
    left, right = here.args
    memory, q = (left, right) if len(left.type.axes) == 2 else (right, left)
    turned = memory is right
    if memory.op == "transpose":
        memory, turned = memory.args[0], not turned
    for found, later in ((before, False), (after, True)):
        if memory in found:
            return Read(found[memory], q, later, turned)
    return None


def _period(state: State, own: Node) -> Node | None:
    """C of `x' = e every C` that holds its value otherwise, and fires at C, 2C, …"""
    match state.next:
        case Node(op="select", args=(Node(op="fires", args=(period, start)), _, held)):
            return period if held is own and start is period else None
    return None


def _ordered(states: list[State], forms: Mapping[str, Affine]) -> list[State]:
    """The states so that each mixes in only earlier ones; raises `NotAffine` if they mix in a circle."""
    order: list[State] = []
    while len(order) < len(states):
        placed = {x.name for x in order}
        free = [x for x in states if x not in order and set(forms[x.name].scale) <= placed | {x.name}]
        if not free:
            names = " and ".join(f"`{x.name}`" for x in states if x not in order)
            raise NotAffine(f"{names} mix in a circle")
        order.append(free[0])
    return order


def _terms(order: list[State], forms: Mapping[str, Affine]) -> tuple[Term, ...]:
    """The pairs of all memories; those that write the same vector are one term."""
    found: dict[tuple[tuple[Node | None, ...], Node | None, Node | None], list[Node | None]] = {}
    for i, state in enumerate(order):
        for pair in forms[state.name].pairs:
            y = pair.y if pair.weight is None else node("mul", pair.weight, pair.y)
            p = tuple(pair.p.get(x.name) for x in order)
            slots = found.setdefault((p, pair.u, pair.window), [None] * len(order))
            slots[i] = y if slots[i] is None else node("add", slots[i], y)  # type: ignore[arg-type]
    return tuple(Term(p, u, tuple(slots), window) for (p, u, window), slots in found.items())


def _by_columns(scale: Node, own: Node) -> bool:
    """Whether a state decays by a number for each column; its axes must have two names to tell."""
    rows, columns = own.type.axes
    return rows != columns and scale.type.axes == (columns,)


def _describe(group: Group) -> str:
    names = " and ".join(f"`{x.name}`" for x in group.states)
    reading = any(p is not None for term in group.terms for p in term.p)
    windows = [term.window for term in group.terms if term.window is not None]
    single = len(group.terms) - len(windows)
    rank = " + ".join([*map(repr, windows), *([str(single)] if single else [])])
    what = f"plus rank {rank}" + ("" if reading else ", written without reading")
    whose = f"{names}ᵀ" if group.transposed else names
    if group.decay is not None:
        return f"a diagonal {what}, applied to {whose}"
    if len(group.states) > 1:
        return f"{whose} side by side: scalars times the identity {what}"
    return f"a multiple of the identity {what}, applied to {whose}"


# ---- transposes ------------------------------------------------------------------------------------------------------


def _flipped(own: Node) -> Node:
    """The leaf of the transpose; of another role, so that it is told from the state also where that is square."""
    return leaf("free", own.name, transpose(own.type))


@dataclass(eq=False)
class _Turned:
    """Moves transposes down to the leaves; states in `turned` are replaced by the transposes of other leaves.

    The next values of other states, `nexts`, are left as they are: they are known as a whole.
    """

    turned: Mapping[Node, Node]
    own: set[Node]
    nexts: set[Node]
    done: dict[tuple[Node, bool], Node] = field(default_factory=dict)

    def __call__(self, here: Node, flip: bool) -> Node:
        key = (here, flip)
        if key not in self.done:
            self.done[key] = self.flipped(here) if flip else self.straight(here)
        return self.done[key]

    def straight(self, here: Node) -> Node:
        if here in self.turned:
            return node("transpose", self.turned[here])
        if here in self.nexts:
            return here
        match here.op, here.args:
            case "transpose", (a,):
                return self(a, True)
            case "matmul", (a, b) if len(a.type.axes) == 1 and len(b.type.axes) == 2:
                return node("matmul", self(b, True), self(a, False))
        args = tuple(self(arg, False) for arg in here.args)
        same = all(a is b for a, b in zip(args, here.args, strict=True))
        return here if same else node(here.op, *args, attrs=here.attrs, span=here.span)

    def flipped(self, here: Node) -> Node:
        if here in self.turned:
            return self.turned[here]
        if here in self.nexts:
            return node("transpose", here)
        if len(here.type.axes) != 2:
            return self(here, False)
        match here.op, here.args:
            case "transpose", (a,):
                return self(a, False)
            case ("add" | "sub" | "neg" | "mul" | "div"), args:
                return node(here.op, *(self(arg, True) for arg in args), span=here.span)
            case "outer", (a, b):
                return node("outer", self(b, False), self(a, False), span=here.span)
            case "matmul", (a, b) if len(a.type.axes) == len(b.type.axes) == 2:
                return node("matmul", self(b, True), self(a, True), span=here.span)
            case "eye", ():
                return here
            case "window", (a, length):
                return node("window", self(a, True), length, attrs=here.attrs, span=here.span)
        return node("transpose", self(here, False), span=here.span)
