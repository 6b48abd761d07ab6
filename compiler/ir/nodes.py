"""The node class, the bodies of loops and folds, and how nodes are built, walked and changed."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from fractions import Fraction
from threading import RLock
from typing import Any

from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.ops.types import INT, REAL, Type
from dotopt.compiler.text.source import Span


class Node:
    """An operation on nodes; built by `node` only, never changed.

    The hash is made of what the node is, and neither of its address nor of the seed of strings: sets of nodes have the
    same order in every process, so what is searched, drawn and printed in their order is the same too.
    """

    __slots__ = ("__weakref__", "_hash", "args", "attrs", "op", "type")

    _hash: int

    def __hash__(self) -> int:
        return self._hash

    op: str
    args: tuple[Node, ...]
    attrs: Any  # a record of `dotopt.compiler.ops.attributes`
    type: Type

    @property
    def span(self) -> Span | None:
        """Where the file whose program is being worked on wrote this first; None outside of `placed`."""
        places = _PLACES.get()
        return None if places is None else places.get(self)

    def __repr__(self) -> str:
        from dotopt.compiler.ir.print import infix

        return infix(self)

    @property
    def role(self) -> str:
        """What kind of leaf this is; empty for an operation."""
        return str(self.attrs.role) if self.op == "leaf" else ""

    @property
    def name(self) -> str:
        """The name of a leaf, in the user's spelling."""
        return str(self.attrs.name) if self.op == "leaf" else ""

    @property
    def value(self) -> Fraction | None:
        """The number, if this is a constant."""
        return self.attrs.value if self.op == "const" else None

    @property
    def children(self) -> tuple[Node, ...]:
        """Arguments, and the nodes inside the body of a loop or fold."""
        bodies = tuple(attr for attr in self.attrs if isinstance(attr, Loop | Fold | Lambda))
        return self.args + tuple(inner for body in bodies for inner in body.nodes)

    def walk(self) -> Iterator[Node]:
        """Every node below and this one, each once, arguments before what uses them."""
        seen: set[Node] = set()
        stack: list[tuple[Node, bool]] = [(self, False)]
        while stack:
            here, done = stack.pop()
            if done:
                yield here
            elif here not in seen:
                seen.add(here)
                stack.append((here, True))
                stack.extend((child, False) for child in reversed(here.children))


@dataclass(frozen=True, slots=True)
class Loop:
    """The body of `iterate`: `variables` are leaves, `nexts` their values after a pass.

    `until` is looked at before a pass; `index` is the leaf of `for j in S` (then the first argument of the node is S).
    """

    variables: tuple[Node, ...]
    nexts: tuple[Node, ...]
    until: Node | None = None
    index: Node | None = None
    equations: tuple[Equation, ...] = field(default=(), compare=False)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that the body is made of."""
        return self.nexts + ((self.until,) if self.until is not None else ())


@dataclass(frozen=True, slots=True)
class Fold:
    """`kind(body for indices in domain if condition)`; `kind` is sum, mean, max, min, argmax or list."""

    kind: str
    indices: tuple[Node, ...]
    body: Node
    condition: Node | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that the body is made of."""
        return (self.body,) + ((self.condition,) if self.condition is not None else ())


@dataclass(frozen=True, slots=True)
class Lambda:
    """A function of `variables` (leaves) inside an attribute, for inner problems."""

    variables: tuple[Node, ...]
    body: Node

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that the body is made of."""
        return (self.body,)


@dataclass(frozen=True, slots=True)
class Equation:
    """A named value, in an order in which each needs only earlier ones; `primed` for next values."""

    name: str
    node: Node
    span: Span | None = field(default=None, compare=False)
    primed: bool = False

    @property
    def label(self) -> str:
        """The left side, as written."""
        return self.name + ("'" if self.primed else "")


def _stable(value: Any) -> int:
    """A hash of an attribute that is the same in every process."""
    match value:
        case Node():
            return value._hash
        case str():
            return zlib.crc32(value.encode())
        case tuple():
            return hash(tuple(map(_stable, value)))
        case int() | Fraction() | float():
            return hash(value)
        case None:
            return 0
        case _ if is_dataclass(value):
            return hash(tuple(_stable(getattr(value, f.name)) for f in fields(value) if f.compare))
    return zlib.crc32(repr(value).encode())


_TABLE: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()
_ENTERING = RLock()  # `setdefault` of a weak dictionary is no single step: two threads would enter a node each


def node(op: str, *args: Node, attrs: tuple[Any, ...] = (), span: Span | None = None) -> Node:
    """The one node with this operation, arguments and attributes; raises `Mismatch` if the types do not fit.

    >>> x = leaf("param", "x")
    >>> node("add", x, x) is node("add", x, x)
    True
    """
    key = (op, args, attrs)
    found = _TABLE.get(key)
    if found is not None:
        return _at(found, span)
    row = OPERATIONS[op]
    if row.arity is not None and len(args) != row.arity:
        raise TypeError(f"{op} takes {row.arity} arguments, {len(args)} given")
    made = Node()
    made.op, made.args, made.attrs = op, args, row.attributes(*attrs)
    made.type = row.type(args, made.attrs)
    made._hash = hash((zlib.crc32(op.encode()), *(a._hash for a in args), _stable(made.attrs)))
    with _ENTERING:
        return _at(_TABLE.setdefault((op, args, made.attrs), made), span)


def _at(here: Node, span: Span | None) -> Node:
    places = _PLACES.get()
    if span is not None and places is not None:
        places.setdefault(here, span)
    return here


# ---- places --------------------------------------------------------------------------------------------------------

Places = dict[Node, Span]  # of one lowering: files share nodes, and never places
_PLACES: ContextVar[Places | None] = ContextVar("places", default=None)


def note(places: Places) -> None:
    """Notes these places for whoever has this program made: a module is written from several lowerings of one file."""
    around = _PLACES.get()
    if around is not None:
        around.update({here: span for here, span in places.items() if here not in around})


@contextmanager
def placed(places: Places) -> Iterator[None]:
    """Inside, nodes are at these places, and those that are made are noted there."""
    before = _PLACES.set(places)
    try:
        yield
    finally:
        _PLACES.reset(before)


def leaf(role: str, name: str, type: Type = REAL, *indices: Node, span: Span | None = None) -> Node:
    """A leaf.

    Roles: param, state, input, hyper, option, time, axis, rank, draw, loop, index, set, identity, free, sequence.
    """
    return node("leaf", *indices, attrs=(role, name, type), span=span)


def number(value: Fraction | int) -> Node:
    """An exact number."""
    return node("const", attrs=(Fraction(value),))


def boolean(value: bool) -> Node:
    """`true` or `false`."""
    return node("bool", attrs=(value,))


TIME = leaf("time", "t", INT)


def rebuild(root: Node, change: Callable[[Node], Node]) -> Node:
    """`root` with `change` applied to every node from the leaves up, bodies of loops and folds included.

    `change` sees a node whose children have been changed already.
    """
    done: dict[Node, Node] = {}
    for here in root.walk():
        args = tuple(done[arg] for arg in here.args)
        attrs = tuple(_rebuild_body(attr, done) for attr in here.attrs)
        same = all(a is b for a, b in zip(args, here.args, strict=True)) and attrs == here.attrs
        done[here] = change(here if same else node(here.op, *args, attrs=attrs, span=here.span))
    return done[root]


def _rebuild_body(attr: Any, done: dict[Node, Node]) -> Any:
    match attr:
        case Loop(variables, nexts, until, index, equations):
            changed = tuple(
                Equation(e.name, done.get(e.node, e.node), e.span, e.primed) for e in equations
            )
            return Loop(variables, tuple(done[n] for n in nexts), until and done[until], index, changed)
        case Fold(kind, indices, body, condition):
            return Fold(kind, indices, done[body], condition and done[condition])
        case Lambda(variables, body):
            return Lambda(variables, done[body])
        case _:
            return attr


def carved(root: Node, stop: Callable[[Node], Node | None]) -> Node:
    """`root` with what `stop` gives in the place of a node, asked from the root down; None: its children are asked."""
    done: dict[Node, Node] = {}
    stack = [root]
    while stack:
        here = stack[-1]
        found = None if here in done else stop(here)
        if found is not None:
            done[here] = found
        missing = [] if here in done else [child for child in here.children if child not in done]
        if missing:
            stack += missing
            continue
        stack.pop()
        if here not in done:
            args = tuple(done[arg] for arg in here.args)
            attrs = tuple(_rebuild_body(attr, done) for attr in here.attrs)
            same = all(a is b for a, b in zip(args, here.args, strict=True)) and attrs == here.attrs
            done[here] = here if same else node(here.op, *args, attrs=attrs, span=here.span)
    return done[root]


def substitute(root: Node, table: Mapping[Node, Node]) -> Node:
    """`root` with the nodes of `table` replaced."""
    return rebuild(root, lambda here: table.get(here, here))


def instance(root: Node, table: Mapping[Node, Node]) -> Node:
    """`root` with indices of `table` replaced; a bound index of the same name as a new one is renamed first.

    >>> i, j, s = leaf("index", "i", INT), leaf("index", "j", INT), leaf("set", "s")
    >>> total = node("fold", s, attrs=(Fold("sum", (i,), node("mul", leaf("free", "a", REAL, i), j)),))
    >>> instance(total, {j: i})
    sum(a[i_2]*i for i_2 in s)
    """
    table = {old: new for old, new in table.items() if old is not new}
    if not table:
        return root
    touched = {*table, *(here for new in table.values() for here in new.walk() if here.role == "index")}
    done: dict[Node, Node] = {}
    for here in root.walk():
        if touched.isdisjoint((*_bound(here), *_families(here))):
            args = tuple(done[arg] for arg in here.args)
            attrs = tuple(_rebuild_body(attr, done) for attr in here.attrs)
            same = args == here.args and attrs == here.attrs
            made = here if same else node(here.op, *args, attrs=attrs, span=here.span)
            done[here] = table.get(made, made)
        else:
            done[here] = _instance_inside(here, table)
    return done[root]


def _instance_inside(here: Node, table: Mapping[Node, Node]) -> Node:
    """`instance` of a node that binds some of these indices: those are its own, and what comes in is not caught."""
    own = _families(here)  # of a loop, whose starts are families as well
    kept = {old: new for old, new in table.items() if old not in own}
    args = tuple(instance(arg, kept) for arg in here.args)
    inside = {old: new for old, new in kept.items() if old not in frozenset(_bound(here))}
    coming = {x for new in inside.values() for x in new.walk() if x.role == "index"}
    taken = {x.name for x in (*here.walk(), *coming) if x.role == "index"}
    fresh = {index: leaf("index", _unused(index.name, taken), index.type) for index in _bound(here) if index in coming}
    inside |= fresh
    attrs: list[Any] = []
    for attr in here.attrs:
        match attr:
            case Fold(kind, indices, body, condition):
                renamed = tuple(fresh.get(i, i) for i in indices)
                attrs.append(Fold(kind, renamed, instance(body, inside), condition and instance(condition, inside)))
            case Loop(variables, nexts, until, index, equations):
                changed = tuple(Equation(e.name, instance(e.node, inside), e.span, e.primed) for e in equations)
                passes = tuple(instance(n, inside) for n in nexts)
                stop = until and instance(until, inside)
                attrs.append(Loop(variables, passes, stop, index and fresh.get(index, index), changed))
            case Lambda(variables, body):
                attrs.append(Lambda(variables, instance(body, inside)))
            case _:
                attrs.append(attr)
    return node(here.op, *args, attrs=tuple(attrs), span=here.span)


def free_indices(root: Node) -> frozenset[Node]:
    """The indices that nothing inside `root` binds.

    >>> i, j, s = leaf("index", "i", INT), leaf("index", "j", INT), leaf("set", "s")
    >>> free_indices(node("fold", s, attrs=(Fold("sum", (i,), node("mul", i, j)),)))
    frozenset({j})
    """
    free: dict[Node, frozenset[Node]] = {}
    for here in root.walk():
        found = frozenset((here,)) if here.role == "index" else frozenset()
        inside = [n for attr in here.attrs if isinstance(attr, Loop | Fold | Lambda) for n in attr.nodes]
        found = found.union(*(free[n] for n in inside)) - frozenset(_bound(here))
        free[here] = found.union(*(free[a] for a in here.args)) - _families(here)
    return free[root]


def _bound(here: Node) -> Iterator[Node]:
    for attr in here.attrs:
        if isinstance(attr, Fold):
            yield from attr.indices
        elif isinstance(attr, Loop) and attr.index is not None:
            yield attr.index


def _families(here: Node) -> frozenset[Node]:
    """The indices of the families that a loop goes on with."""
    loops = (attr for attr in here.attrs if isinstance(attr, Loop))
    return frozenset(index for loop in loops for variable in loop.variables for index in variable.args)


def _unused(name: str, taken: set[str]) -> str:
    count = next(k for k in range(2, len(taken) + 3) if f"{name}_{k}" not in taken)
    taken.add(f"{name}_{count}")
    return f"{name}_{count}"
