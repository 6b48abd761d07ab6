"""The intermediate representation: one hash-consed node class, and the program of one rule.

    node    = leaf(role, name, type)[indices]                       what is given
            | const(value) | bool(value) | inf | pi
            | neg | abs | sign | sqrt | exp | ... (a)               entrywise, one argument
            | add | sub | mul | div | pow | min | max | lt | ... (a, b)    entrywise, broadcasting by axis name
            | select(condition, a, b)
            | sum | mean | amax | amin | norm | std (a; axes, model, ...)  axes are those summed away
            | size(a; axes)                                         how many entries one reduction covers
            | matmul(a, b) | transpose(a) | outer(a, b) | ...       matrices
            | loop(most, *starts; body) and item(node; position)    passes; the results by position
            | fold(domain; kind, body)                              a reduction over an index
            | oracle(*indices, *points, *samples; name, what, ...)  what the user's objective is asked:
                                                                    value, gradient, hessian_vector, hessian, third, field
            | apply(*indices, *points, *samples; name, order, ...)  a function that the user passes
            | argmin | root | cg (*options; function, ...)          inner problems, the function as a Lambda
    program = params, states with start and next, hypers, options, equations in order

Two nodes with the same operation, arguments and attributes are one object, so `is` is equality and common
subexpressions are shared. The type is computed on construction; the span stands outside identity. Numbers are exact:
floating-point order belongs to the emitters, algebra to the prover.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from dotopt.compiler import types as ty
from dotopt.compiler.source import Span
from dotopt.compiler.types import ANY, BOOL, INT, REAL, Mismatch, Type


class Node:
    """An operation on nodes; built by `node` only, never changed."""

    __slots__ = ("__weakref__", "args", "attrs", "op", "span", "type")

    op: str
    args: tuple[Node, ...]
    attrs: tuple[Any, ...]
    type: Type
    span: Span | None

    def __repr__(self) -> str:
        from dotopt.compiler.emit.expression import infix

        return infix(self)

    @property
    def role(self) -> str:
        """What kind of leaf this is; empty for an operation."""
        return str(self.attrs[0]) if self.op == "leaf" else ""

    @property
    def name(self) -> str:
        """The name of a leaf, in the user's spelling."""
        return str(self.attrs[1]) if self.op == "leaf" else ""

    @property
    def value(self) -> Fraction | None:
        """The number, if this is a constant."""
        return self.attrs[0] if self.op == "const" else None

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


# ---- the operations: how many arguments, and the type of the result ------------------------------------------------

Rule = Callable[[tuple[Node, ...], tuple[Any, ...]], Type]


def _entrywise(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = args[0].type
    for arg in args[1:]:
        type = ty.broadcast(type, arg.type)
    return Type("int", type.axes) if type.kind == "bool" else type


def _real(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = _entrywise(args, attrs)
    return Type("real", type.axes) if type.kind == "int" else type


def _truth(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = args[0].type
    for arg in args[1:]:
        type = ty.broadcast(type, arg.type)
    return Type("bool", type.axes)


def _select(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    branches = ty.broadcast(args[1].type, args[2].type)
    whole = ty.broadcast(Type(branches.kind, args[0].type.axes), branches) if not branches.any else branches
    return whole


def _reduced(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return ty.reduce(args[0].type, attrs[0])


def _real_reduced(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return Type("real", ty.reduce(args[0].type, attrs[0]).axes)


def _same(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return args[0].type


def _given(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    given: Type = attrs[-1]
    return given


def _constant(type: Type) -> Rule:
    return lambda args, attrs: type


def _square(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = args[0].type
    if not type.any and (len(type.axes) < 2 or type.axes[-1] != type.axes[-2]):
        raise Mismatch(str(type), "a square matrix")
    return type


def _diagonal(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = _square(args, attrs)
    return Type(type.kind, type.axes[:-1])


def _solve(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    matrix, right = args[0].type, args[1].type
    ty.matmul(ty.transpose(matrix), right)
    return right if matrix.axes[-1:] == matrix.axes[-2:-1] else ty.matmul(ty.transpose(matrix), right)


def _vector_of(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = args[0].type
    return Type(type.kind, type.axes[:-1])


def _scalar_of(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return Type("real", args[0].type.axes[:-2] if REST_FIRST(args[0].type) else ())


def REST_FIRST(type: Type) -> bool:
    """Whether the type has leading axes that are carried along."""
    return type.axes[:1] == (ty.REST,)


def _loop(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return Type("tuple", (), tuple(variable.type for variable in attrs[0].variables))


def _item(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return args[0].type.items[attrs[0]] if args[0].type.kind == "tuple" else ANY


def _tuple(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return Type("tuple", (), tuple(arg.type for arg in args))


def _fold(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    body: Fold = attrs[0]
    match body.kind:
        case "argmax":
            return INT
        case "list":
            return Type("list")
        case "sum" | "mean":
            return Type("int", body.body.type.axes) if body.body.type.kind == "bool" else body.body.type
        case _:
            return body.body.type


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: the number of arguments (None: any), its attributes by name, and the rule for its type."""

    arity: int | None
    attrs: tuple[str, ...]
    type: Rule


UNARY_REAL = ("sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "acos", "atanh", "sigmoid", "gelu")
UNARY_SAME = ("neg", "abs", "sign", "relu", "floor", "ceil")
BINARY = ("add", "sub", "mul", "min", "max")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
REDUCTIONS = ("sum", "mean", "amax", "amin", "norm", "std")

OPS: dict[str, Op] = {
    "leaf": Op(None, ("role", "name", "type"), _given),
    "const": Op(0, ("value",), lambda args, attrs: INT if attrs[0].denominator == 1 else REAL),
    "bool": Op(0, ("value",), _constant(BOOL)),
    "inf": Op(0, (), _constant(REAL)),
    "pi": Op(0, (), _constant(REAL)),
    **{name: Op(1, (), _real) for name in UNARY_REAL},
    **{name: Op(1, (), _entrywise) for name in UNARY_SAME},
    **{name: Op(2, (), _entrywise) for name in BINARY},
    **{name: Op(2, (), _truth) for name in (*COMPARISONS, "and", "or")},
    "not": Op(1, (), _truth),
    "div": Op(2, (), _real),
    "pow": Op(2, (), _real),
    "mod": Op(2, (), _entrywise),
    "select": Op(3, (), _select),
    "cis": Op(1, (), lambda args, attrs: Type("complex", args[0].type.axes)),
    "re": Op(1, (), lambda args, attrs: Type("real", args[0].type.axes)),
    "im": Op(1, (), lambda args, attrs: Type("real", args[0].type.axes)),
    "conj": Op(1, (), _same),
    "stop": Op(1, (), _same),
    "cast": Op(1, ("dtype",), _same),
    # `axes` are summed away; `model`: over all tensors of the optimizer; `order` of a norm: a number or None for ∞
    "sum": Op(1, ("axes", "model"), _reduced),
    "mean": Op(1, ("axes", "model"), _real_reduced),
    "amax": Op(1, ("axes", "model"), _reduced),
    "amin": Op(1, ("axes", "model"), _reduced),
    "std": Op(1, ("axes", "model"), _real_reduced),
    "norm": Op(1, ("axes", "model", "order"), _real_reduced),
    "size": Op(1, ("axes", "model"), _constant(INT)),
    "native": Op(1, ("axis",), _constant(INT)),
    "argmax": Op(1, (), _constant(INT)),
    "argsort": Op(1, (), lambda args, attrs: Type("int", args[0].type.axes)),
    "rank_of": Op(1, (), lambda args, attrs: Type("int", args[0].type.axes)),
    "keep_largest": Op(2, (), _same),
    "cumsum": Op(1, (), _same),
    "matmul": Op(2, (), lambda args, attrs: ty.matmul(args[0].type, args[1].type)),
    "transpose": Op(1, (), lambda args, attrs: ty.transpose(args[0].type)),
    "outer": Op(2, (), lambda args, attrs: ty.outer(args[0].type, args[1].type)),
    "eye": Op(0, ("axis",), lambda args, attrs: Type("real", (attrs[0], attrs[0]))),
    "zeros": Op(None, ("type",), _given),
    "ones": Op(None, ("type",), _given),
    "trace": Op(1, (), lambda args, attrs: Type(args[0].type.kind)),
    "diagonal": Op(1, (), _diagonal),
    "tril": Op(1, (), _same),
    "inverse": Op(1, (), _square),
    "solve": Op(2, (), _solve),
    "qr": Op(1, (), _same),
    "eigenvectors": Op(1, (), _square),
    "top_eigenvector": Op(1, (), _vector_of),
    "svdvals": Op(1, (), lambda args, attrs: Type("real", args[0].type.axes[:-1])),
    "polar": Op(1, (), _same),
    "matrix_power": Op(2, (), _square),
    "spectral_norm": Op(1, (), _scalar_of),
    "spectral_radius": Op(1, (), _scalar_of),
    "positive_definite": Op(1, (), _constant(BOOL)),
    "columns": Op(2, (), _same),
    "unit": Op(1, (), _same),
    "indicator": Op(1, ("type",), _given),
    "tuple": Op(None, (), _tuple),
    "set": Op(None, (), _constant(Type("set"))),
    "range": Op(2, (), _constant(Type("set"))),
    "contains": Op(2, (), _constant(BOOL)),  # (set or list, element)
    "item": Op(None, ("position",), _item),  # of a loop or tuple; further arguments are indices of a family
    "element": Op(2, (), lambda args, attrs: REAL if args[0].type.kind != "tuple" else args[0].type.items[0]),
    "loop": Op(None, ("body",), _loop),
    "fold": Op(None, ("body",), _fold),
    "window": Op(2, ("kind",), _same),  # kind of e over the last C steps
    "fires": Op(2, (), _constant(BOOL)),  # (period, start): whether `every` fires at this t
    # `split` = (number of indices, number of points): arguments are indices, then points, then samples
    "oracle": Op(None, ("name", "what", "argument", "split", "type"), _given),
    "apply": Op(None, ("name", "order", "argument", "split", "type"), _given),  # a user function; order 1: its gradient
    "conjugate": Op(None, ("name", "order", "type"), _given),  # K^*, or its gradient
    "attention": Op(3, (), lambda args, attrs: args[2].type),
    "jvp": Op(None, ("type",), _given),
    "argmin": Op(None, ("function", "method", "options", "type"), _given),  # arguments: values of the options
    "root": Op(None, ("function", "method", "options", "type"), _given),
    "cg": Op(None, ("function", "options", "type"), _given),  # first argument: the right side
    "host": Op(None, ("name", "type"), _given),  # lists: append suffix occurs top
    "base": Op(None, ("names", "type"), _given),  # where the base rule goes: (parameter, [gradient], *overrides)
    "base_member": Op(0, ("name", "type"), _given),
    "claim": Op(None, ("name", "type"), _given),  # words that only claims know: ddt, expect, run, O, jacobian, …
}

_TABLE: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()


def node(op: str, *args: Node, attrs: tuple[Any, ...] = (), span: Span | None = None) -> Node:
    """The one node with this operation, arguments and attributes; raises `Mismatch` if the types do not fit.

    >>> x = leaf("param", "x")
    >>> node("add", x, x) is node("add", x, x)
    True
    """
    key = (op, args, attrs)
    found = _TABLE.get(key)
    if found is not None:
        return found
    rule = OPS[op]
    if rule.arity is not None and len(args) != rule.arity:
        raise TypeError(f"{op} takes {rule.arity} arguments, {len(args)} given")
    made = Node()
    made.op, made.args, made.attrs, made.span = op, args, attrs, span
    made.type = rule.type(args, attrs)
    return _TABLE.setdefault(key, made)


def leaf(role: str, name: str, type: Type = REAL, *indices: Node, span: Span | None = None) -> Node:
    """A leaf. Roles: param, state, input, hyper, option, const, time, axis, rank, draw, loop, index, sample, set, free."""
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


def substitute(root: Node, table: Mapping[Node, Node]) -> Node:
    """`root` with the nodes of `table` replaced."""
    return rebuild(root, lambda here: table.get(here, here))


# ---- programs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """The legal values of a hyperparameter; None is unbounded. The ends may use other hyperparameters."""

    low: Node | None = None
    high: Node | None = None
    open_low: bool = False
    open_high: bool = False
    text: str = ""  # in the words of the file


@dataclass(frozen=True, slots=True)
class Hyper:
    """A scalar knob; `keyword` and `position` are its place in the Python signature (`betas`, 0)."""

    name: str
    keyword: str
    position: int | None
    type: Type
    interval: Interval
    default: Node | None
    indices: tuple[tuple[str, str], ...] = ()  # (index, set) of a family
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Option:
    """A static choice; a boolean has the values False and True."""

    name: str
    keyword: str
    values: tuple[bool | str, ...]
    default: bool | str


@dataclass(frozen=True, slots=True)
class Param:
    """What the rule moves; `merged` says that the last named axis holds all that follow."""

    name: str
    type: Type
    merged: bool = False
    indices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What is kept between steps. `start` is the value before step 1; with kind `first` it is computed in step 1.

    `next` is None for a state that never changes. `shared`: one number per group, since it depends on nothing else.
    """

    name: str
    key: str
    type: Type
    start: Node
    kind: str
    next: Node | None
    shared: bool
    like: str | None = None  # the name after `like`
    indices: tuple[tuple[str, str], ...] = ()
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """Given at every step."""

    name: str
    type: Type
    interval: Interval
    indices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Random:
    """A draw: its law (`normal`, …), the arguments, and its position in the file, which seeds it."""

    name: str
    type: Type
    law: str
    args: tuple[Node, ...]
    position: int


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


@dataclass(frozen=True, slots=True)
class Callable_:
    """An objective, operator or function of the user: argument names, sample names, properties."""

    word: str
    name: str
    arguments: tuple[str, ...] | None
    samples: tuple[str, ...]
    properties: tuple[str, ...]
    default: str | None = None
    indices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RoleProgram:
    """The part of a protocol that one party runs."""

    name: str
    indices: tuple[tuple[str, str], ...]
    condition: Node | None
    equations: tuple[Equation, ...]
    sent: tuple[tuple[str, str, Node], ...]  # (send | broadcast, name, value)


@dataclass(frozen=True)
class Program:
    """One rule, lowered for one choice of options and rank."""

    name: str
    kind: str  # optimizer | module | aggregator | protocol | minimize | solver | host | formula | transform | theorem
    decided_by: Span | None
    docstring: str | None
    source: str | None
    params: tuple[Param, ...]
    hypers: tuple[Hyper, ...]
    options: tuple[Option, ...]
    inputs: tuple[Input, ...]
    states: tuple[State, ...]
    randoms: tuple[Random, ...]
    callables: tuple[Callable_, ...]
    equations: tuple[Equation, ...]
    next: Mapping[str, Node]  # of params
    outputs: Mapping[str, Node]
    evaluation: Mapping[str, Node]  # `eval θ = e`
    roles: tuple[RoleProgram, ...] = ()
    result: Node | None = None  # of a formula

    @property
    def roots(self) -> tuple[Node, ...]:
        """Everything that must be computed in a step."""
        states = tuple(state.next for state in self.states if state.next is not None)
        firsts = tuple(state.start for state in self.states if state.kind == "first")
        roles = tuple(value for role in self.roles for _, _, value in role.sent)
        last = (self.result,) if self.result is not None else ()
        return (*self.next.values(), *states, *self.outputs.values(), *firsts, *roles, *last)

    @property
    def names(self) -> dict[Node, str]:
        """The user's name of each named node; the first name wins."""
        table: dict[Node, str] = {}
        for equation in self.equations:
            table.setdefault(equation.node, equation.label)
        return table

    @property
    def oracles(self) -> tuple[Node, ...]:
        """What the user's functions are asked in one step, each once."""
        found: dict[Node, None] = {}
        for root in self.roots:
            for here in root.walk():
                if here.op == "oracle":
                    found[here] = None
        return tuple(found)
